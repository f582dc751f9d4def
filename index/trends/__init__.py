"""``python -m index.trends``: what moved between runs or dates."""
