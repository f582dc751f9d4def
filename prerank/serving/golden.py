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
LARGEST_TOLERANCE = 1e-3
"""Above it a scorer that is wrong would pass."""
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
    try:
        count, tolerance = (
            int(bundle.manifest["golden"]["requests"]),
            _tolerance(bundle.manifest["golden"]["tolerance"]),
        )
        golden = [_read(json.loads(line)) for line in bundle.read(GOLDEN).splitlines()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} or the manifest's golden is damaged ({error!r}): export the bundle again") from None
    if len(golden) != count:
        raise InputError(f"{path} has {len(golden)} requests, the manifest says {count}: export the bundle again")
    for number, (request, expected) in enumerate(golden):
        difference = np.abs(score(request) - expected)
        if not (difference <= tolerance).all():
            worst = int(np.argmax(difference))
            raise InputError(
                f"{bundle.folder}: golden request {number} differs from the training code by {difference[worst]:.2g} "
                f"at candidate {worst}, more than {tolerance:g}: export the bundle with this version, and report it if "
                "that does not help"
            )
    return count


def _tolerance(said: Any) -> float:
    tolerance = float(said)
    if not 0 <= tolerance <= LARGEST_TOLERANCE:
        raise ValueError(f"a tolerance of {said}, expected one from 0 to {LARGEST_TOLERANCE:g}")
    return tolerance


def _read(golden: dict[str, Any]) -> tuple[Request, npt.NDArray[np.float64]]:
    """A request, and the scores that its candidates should get."""
    request = Request.of({key: value for key, value in golden["body"].items() if key != "n"})
    expected = np.array(golden.get("score_stored", golden["score"]), np.float64)
    if expected.shape != (len(request.candidates["item_id"]),):
        raise ValueError(f"{expected.shape} scores of {len(request.candidates['item_id'])} candidates")
    return request, expected
