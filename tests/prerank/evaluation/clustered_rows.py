"""Rows in clusters, and their pooled AUC as a statistic."""

from __future__ import annotations

import numpy as np

from prerank.evaluation.bootstrap import SortedScores


def clustered(seed=0, clusters=60, rows=600, ties=True, skill=1.0):
    rng = np.random.default_rng(seed)
    cluster = rng.integers(clusters, size=rows)
    labels = rng.random(rows) < 0.2
    scores = rng.standard_normal(rows) + skill * labels
    return labels, (np.round(scores, 1) if ties else scores), cluster


def pooled_auc(labels, scores, cluster, clusters):
    return SortedScores(scores, cluster, clusters).auc(labels)
