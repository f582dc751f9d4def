"""Boosted trees that learn the order within each list (LambdaMART) in place of each row's probability."""

from prerank.systems.lightgbm import NEEDS_PSI, fit, load

__all__ = ["NEEDS_PSI", "fit", "load"]
