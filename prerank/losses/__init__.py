"""One loss a file: feedback (GRACE, eqs. 2-4), consistency (5, 6, 8, 9), generalisation (10); others' in lists and top.

Eqs. 1 and 7 are networks (:mod:`prerank.network.experts`, :mod:`prerank.network.heads`), eq. 11 sums the losses
(:mod:`prerank.systems.grace`), eq. 12 measures (:mod:`prerank.evaluation.metrics`).
"""
