# %% [markdown]
# # ψ: embeddings of the items that people engaged with
# Log and graph are made on the way where the run does not have them; finished stages are not run again.

# %%
from configs import parse
from pretrain import make_psi

psi = make_psi(parse(["run=notebook", "data.world=tiny", "pretrain.max_epochs=2"]))
print(len(psi), "items in P,", psi.dimension, "dimensions")

# %%
# ψ of some items: -1 is an item outside P.
rows = psi.rows_of(psi.ids[:3])
print(psi.ids[:3], psi.vectors[rows].shape)
