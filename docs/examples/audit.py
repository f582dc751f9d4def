# %% [markdown]
# # Does φ know what ψ knows?

# %%
import numpy as np

from configs.command import parse
from index.audit.auditing import audit
from index.measures import ann
from pretrain.embeddings import EmbeddingTable

request = parse(["run=notebook", "model=grace", "index.hold_out_max_epochs=1"])
print(audit(request)["overlap"]["overlap@10"])

# %%
# The neighbours of the first item under φ, by exact search; the nearest is the item itself.
phi = EmbeddingTable.load(request.run.system("grace") / "phi")
vectors = ann.normalised(np.asarray(phi.vectors))
_, neighbours = ann.exact_index(vectors).search(vectors[:1], 6)
print(phi.ids.take(neighbours[0]))
