"""Nearest-neighbour indexes of psi and phi, what they show about the embeddings, and the reports."""
