"""From search logs to the query-item-attribute co-engagement graph: the first room, fed by `configs` alone."""
