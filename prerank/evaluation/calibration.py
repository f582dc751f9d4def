"""From a score that only orders items to a probability: what a softmax or a ranking loss leaves undone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.linear_model import LogisticRegression

from configs.console import warn

LEAST_SLOPE = 1e-3
"""Of a calibrated logit over the score: above 0, so that calibration never turns the order of items round."""


def logistic_line(
    score: Float[np.ndarray, " rows"], labels: Shaped[np.ndarray, " rows"], model: str, task: str
) -> tuple[float, float]:
    """Slope and intercept of the logit over the score (Platt 1999); 1 and 0, out loud, where one class is missing.

    Args:
        score: of validation rows whose feedback is known.
        labels: 0 or 1.
        model, task: for the messages.
    """
    if len(np.unique(labels)) < 2:
        warn(f"model={model}: validation holds one class of {task} only, so its probabilities are not calibrated")
        return 1.0, 0.0
    # A ridge too weak to be seen, which keeps the slope finite where the score separates the classes.
    line = LogisticRegression(C=1e4).fit(score.reshape(-1, 1), labels)
    slope, intercept = float(line.coef_[0, 0]), float(line.intercept_[0])
    if slope >= LEAST_SLOPE:
        return slope, intercept
    warn(
        f"model={model}: on validation the score does not tell {task}s (slope {slope:.2g}); all get about the mean rate"
    )
    rate = float(np.mean(labels))
    return LEAST_SLOPE, float(np.log(rate / (1 - rate)) - LEAST_SLOPE * np.mean(score))
