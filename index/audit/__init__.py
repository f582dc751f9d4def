"""``python -m index.audit``: FAISS audit of ψ and φ, or of any two tables."""
