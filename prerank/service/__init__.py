"""``python -m prerank.serve``: a bundle's scorer behind HTTP, for one bundle after the other."""
