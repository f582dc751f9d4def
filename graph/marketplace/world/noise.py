"""Where randomness comes from: named streams for what is drawn in order, counters for what happens in a request.

A counter-based draw depends on the seed, its purpose and the (request, item) it is for, and on nothing else: neither on
the order of the work, nor on the number of threads, nor on which other items were shown. Two pre-rankers that drive the
same world therefore meet the same luck.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from numba import njit

TO_UNIT = 2.0**-53


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator of its own for one purpose, so that a change in one part of a world leaves the others alone."""
    return np.random.Generator(np.random.PCG64(_digest(seed, *purpose)))


def counter_key(seed: int, *purpose: str | int) -> np.uint64:
    """The key of one purpose's counter-based draws."""
    return np.uint64(_digest(seed, *purpose) & 0xFFFFFFFFFFFFFFFF)


def _digest(seed: int, *purpose: str | int) -> int:
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


@njit(cache=True, inline="always")
def mixed(value: Any) -> Any:
    """The finaliser of SplitMix64 (Steele et al. 2014): every bit of the input reaches every bit of the result."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, inline="always")
def uniform(key: Any, first: Any, second: Any) -> Any:
    """One draw from the open interval (0, 1) for a pair of counters."""
    state = mixed(key + np.uint64(first) * np.uint64(0x9E3779B97F4A7C15))
    state = mixed(state + np.uint64(second) * np.uint64(0xD1B54A32D192ED03))
    return (np.float64(state >> np.uint64(11)) + 0.5) * TO_UNIT


@njit(cache=True)
def _fill(key: Any, rows: Any, columns: Any, out: Any) -> None:
    for row in range(columns.shape[0]):
        for column in range(columns.shape[1]):
            out[row, column] = uniform(key, rows[row], columns[row, column])


def uniforms(
    key: np.uint64, requests: Int[np.ndarray, " r"], items: Int[np.ndarray, "r c"]
) -> Float64[np.ndarray, "r c"]:
    """One draw from (0, 1) for every (request, item); padding (-1) draws too and is masked by the caller."""
    out = np.empty(items.shape, np.float64)
    _fill(key, requests.astype(np.int64), items.astype(np.int64), out)
    return out


def normals(
    key: np.uint64, requests: Int[np.ndarray, " r"], items: Int[np.ndarray, "r c"]
) -> Float64[np.ndarray, "r c"]:
    """One standard normal draw for every (request, item), by Box and Muller (1958)."""
    radius = np.sqrt(-2.0 * np.log(uniforms(key, requests, items)))
    drawn: Float64[np.ndarray, "r c"] = radius * np.cos(
        2.0 * np.pi * uniforms(key ^ np.uint64(0xA5A5A5A5A5A5A5A5), requests, items)
    )
    return drawn
