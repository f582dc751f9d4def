"""``python -m prerank.compare``: systems side by side."""
