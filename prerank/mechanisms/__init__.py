"""``python -m prerank.mechanisms``: what each module of GRACE gains."""
