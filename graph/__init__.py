"""From search logs to the query-item-attribute co-engagement graph: the first room, which reads nothing but `configs`."""
