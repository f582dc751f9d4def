"""GraphSAGE by link prediction over the query-item-attribute graph: the embeddings psi."""
