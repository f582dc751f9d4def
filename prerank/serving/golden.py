"""Golden requests: requests whose scores the training code wrote down, to be met before a bundle is served."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import InputError
from prerank.serving.bundle import Bundle
from prerank.serving.request import Request

GOLDEN = "golden.jsonl"
Score = Callable[[Request], npt.NDArray[np.float32]]
"""The scores of a request's candidates."""


def check_golden(bundle: Bundle, score: Score) -> int:
    """Score the bundle's golden requests and compare; where tables are rounded, with the scores of what is stored.

    Args:
        bundle: that holds them.
        score: of a request's candidates.

    Returns:
        How many there were.

    Raises:
        InputError: naming the first request whose scores differ, or if there are not as many as the manifest says.
    """
    path = bundle.path(GOLDEN)
    lines = bundle.read(GOLDEN).splitlines()
    try:
        count, tolerance = int(bundle.manifest["golden"]["requests"]), float(bundle.manifest["golden"]["tolerance"])
        if len(lines) != count:
            raise InputError(f"{path} has {len(lines)} requests, the manifest says {count}: export the bundle again")
        for number, line in enumerate(lines):
            _check(json.loads(line), score, tolerance, f"{bundle.folder}: golden request {number}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} or the manifest's golden is damaged ({error!r}): export the bundle again") from None
    return count


def _check(golden: dict[str, Any], score: Score, tolerance: float, name: str) -> None:
    body = {key: value for key, value in golden["body"].items() if key != "n"}
    expected = np.asarray(golden.get("score_stored", golden["score"]), np.float64)
    difference = np.abs(score(Request.of(body)) - expected)
    if not (difference <= tolerance).all():
        worst = int(np.argmax(difference))
        raise InputError(
            f"{name} differs from the training code by {difference[worst]:.2g} at candidate {worst}, more than "
            f"{tolerance:g}: export the bundle with this version, and report it if that does not help"
        )
