"""GraphSAGE by link prediction over the query-item-attribute graph: the embeddings psi."""

import configs as configs  # sets how OpenMP threads wait, before anything loads the library
