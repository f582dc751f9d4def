# %% [markdown]
# # From a log to its graph
# A simulated log of some 20,000 rows; `data=contract data.path=FOLDER` reads your own (docs/reference/log_contract.md).

# %%
from configs import parse
from graph import build_graph, prepare_log

invocation = parse(["run=notebook", "data.world=tiny"])
log = prepare_log(invocation)
print(log.facts["splits"]["train"], log.items().column_names)

# %%
graph = build_graph(invocation, log)
print(graph.node_counts)
for (source, relation, target), edges in graph.relations.items():
    print(f"{source} -{relation}-> {target}: {edges.edges:,} edges")
