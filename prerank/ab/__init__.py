"""``python -m prerank.ab``: fitted systems drive the simulated marketplace."""
