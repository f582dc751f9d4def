"""From search logs to the query-item-attribute co-engagement graph: the first room, fed by `configs` alone."""

import configs as configs  # sets how OpenMP threads wait, before anything loads the library
