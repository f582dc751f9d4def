"""Boosted trees that learn the order within each list (LambdaMART) in place of each row's probability."""

from prerank.systems.lightgbm import KEYS, NEEDS_PSI, fit, load

__all__ = ["KEYS", "NEEDS_PSI", "fit", "load"]
