"""``python -m graph.check``: what a log is understood as, the mapping that it suggests, and advice on both."""
