# %% [markdown]
# # From a log to its graph
# A simulated log of some 20,000 rows; `data=contract data.path=FOLDER` reads your own (docs/reference/log_contract.md).

# %%
from configs.command import parse
from graph.building import build_graph
from graph.logs.prepare import prepare_log
from graph.views import to_networkx

request = parse(["run=notebook", "data.world=tiny"])
log = prepare_log(request)
print(log.facts["splits"]["train"], log.items().column_names)

# %%
graph = build_graph(request, log)
picture = to_networkx(graph)
print(graph.node_counts, picture.number_of_edges(), "edges")
