"""``python -m prerank.tune``: the search of hyper-parameters."""
