"""From search logs to the query-item-attribute co-engagement graph: the first room, fed by `configs` alone."""

from typing import TYPE_CHECKING

import configs as configs  # sets how OpenMP threads wait, before anything loads the library
from configs.lazy import lazily

__all__ = ["Graph", "SearchLog", "build_graph", "prepare_log"]

if TYPE_CHECKING:
    from graph.building import build_graph as build_graph
    from graph.logs.log import SearchLog as SearchLog
    from graph.logs.prepare import prepare_log as prepare_log
    from graph.store import Graph as Graph
else:
    __getattr__ = lazily(
        __name__,
        {
            "prepare_log": "graph.logs.prepare",
            "build_graph": "graph.building",
            "SearchLog": "graph.logs.log",
            "Graph": "graph.store",
        },
    )
