# %% [markdown]
# # Does φ know what ψ knows?

# %%
import numpy as np

from configs import parse
from index import audit_run
from pretrain import EmbeddingTable

invocation = parse(["run=notebook", "model=grace", "index.hold_out_max_epochs=1"])
print(audit_run(invocation)["overlap"]["overlap@10"])

# %%
# The neighbours of the first item under φ; the nearest is the item itself.
phi = EmbeddingTable.load(invocation.run.system("grace") / "phi")
units = phi.vectors / np.linalg.norm(phi.vectors, axis=1, keepdims=True)
print(phi.ids.take(np.argsort(-units @ units[0])[:6]))
