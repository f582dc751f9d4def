r"""Aggregated strengths to the edges that are stored: normalised, capped for each target, laid out by target.

.. math:: \hat w_{ij} = w_{ij} / \sqrt{s_i s_j}, \quad s_i = \sum_j w_{ij}, \; s_j = \sum_i w_{ij}

so that neither a popular query nor a popular item drowns its neighbours; then the ``cap`` heaviest edges of every
target, of equal (float32) weights those of the lowest sources.

Sums of strengths are exact (:mod:`graph.coengagement`), so that the order of the edges, which engines leave open,
changes no bit. Memory grows with the nodes, and with the edges of as many targets as are laid out at a time: where
these are not all, the strengths are read again for each such part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int64, UInt64

from graph.store import EdgeBatch

StrengthBatch = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Sources, targets and strengths of some edges."""
NO_LIMIT = np.uint64(0xFFFFFFFFFFFFFFFF)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
BYTES_OF_EDGE = 8
"""Memory of an edge while it is laid out."""
BATCH_EDGES = 1 << 19
"""Edges that are handed on at a time."""


@dataclass(frozen=True)
class Strengths:
    """Edges as an engine left them: each (source, target) once, in any order.

    Attributes:
        read: reads them all, in batches, as often as it is called.
        sources: number of source nodes; ``targets`` likewise.
        most: edges that are laid out at a time, of ``BYTES_OF_EDGE`` each.
        beyond: strengths of each source and of each target whose edges are not known any more; None: there are none.
    """

    read: Callable[[], Iterable[StrengthBatch]]
    sources: int
    targets: int
    most: int
    beyond: tuple[Float64[np.ndarray, " sources"], Float64[np.ndarray, " targets"]] | None = None

    @cached_property
    def sums(
        self,
    ) -> tuple[Float64[np.ndarray, " sources"], Float64[np.ndarray, " targets"], Int64[np.ndarray, " targets"]]:
        """The strengths of each source and of each target, and the edges of each target."""
        source_sum, target_sum = np.zeros(self.sources), np.zeros(self.targets)
        if self.beyond is not None:
            source_sum, target_sum = (sums.copy() for sums in self.beyond)
        degree = np.zeros(self.targets, np.int64)
        for batch in self.read():
            _add(*batch, source_sum, target_sum, degree)
        return source_sum, target_sum, degree

    def reversed(self) -> Strengths:
        """The same edges from target to source."""
        return Strengths(
            lambda: ((target, source, strength) for source, target, strength in self.read()),
            self.targets,
            self.sources,
            self.most,
            None if self.beyond is None else self.beyond[::-1],
        )

    def both_ways(self) -> Strengths:
        """Every edge in both directions, where each pair of nodes of one type was named once."""

        def read() -> Iterator[StrengthBatch]:
            for source, target, strength in self.read():
                yield source, target, strength
                yield target, source, strength

        return Strengths(read, self.sources, self.targets, self.most, self.beyond)


def capped(edges: Strengths, cap: int) -> Iterator[EdgeBatch]:
    """The ``cap`` heaviest edges of every target, ascending by (target, source)."""
    limits = _limits(edges, cap)
    yield from _laid_out(edges, cap, limits, limits[:0])


def mutually_capped(edges: Strengths, cap: int) -> Iterator[EdgeBatch]:
    """The edges of a symmetric relation that are among the heaviest of both their ends, which keeps it symmetric."""
    limits = _limits(edges, cap)
    yield from _laid_out(edges, cap, limits, limits)


def _limits(edges: Strengths, cap: int) -> UInt64[np.ndarray, " targets"]:
    """The place (see `_place`) of the last edge of each target within its cap."""
    degree = edges.sums[2]
    limits = np.full(edges.targets, NO_LIMIT)
    if degree.max(initial=0) <= cap:
        return limits
    for first, last in _parts(degree, edges.most):
        starts, _, places = _gather(edges, degree[first:last], first, limits, limits[:0])
        _last_places(places, starts, cap, limits[first:last])
    return limits


def _laid_out(
    edges: Strengths, cap: int, limits: UInt64[np.ndarray, " targets"], back: UInt64[np.ndarray, " sources_or_none"]
) -> Iterator[EdgeBatch]:
    """The edges within the limits of their targets and, where ``back`` has any, of their sources; in order."""
    degree = np.minimum(edges.sums[2], cap)
    for first, last in _parts(degree, edges.most):
        starts, counts, places = _gather(edges, degree[first:last], first, limits, back)
        for start, stop in _parts(degree[first:last], BATCH_EDGES):
            target = np.repeat(np.arange(first + start, first + stop), counts[start:stop])
            yield target, *_by_source(places, starts[start:stop], counts[start:stop])


def _gather(
    edges: Strengths,
    room: Int64[np.ndarray, " rows"],
    first: int,
    limits: UInt64[np.ndarray, " targets"],
    back: UInt64[np.ndarray, " sources_or_none"],
) -> tuple[Int64[np.ndarray, " rows_plus_1"], Int64[np.ndarray, " rows"], UInt64[np.ndarray, " places"]]:
    """Where the rows of the targets from ``first`` on start, how many edges each holds, and the places of these."""
    starts = np.concatenate([[0], np.cumsum(room)])
    places, cursor = np.empty(starts[-1], np.uint64), starts[:-1].copy()
    for source, target, strength in edges.read():
        weights = _weights(source, target, strength, *edges.sums[:2])
        _append(source, target, weights.view(np.uint32), limits, back, first, cursor, places)
    return starts, cursor - starts[:-1], places


def _parts(degree: Int64[np.ndarray, " targets"], most: int) -> Iterator[tuple[int, int]]:
    """Ranges of targets with at most ``most`` edges together, or of one target that has more."""
    reached = np.cumsum(degree)
    first = 0
    while first < len(degree):
        before = int(reached[first - 1]) if first else 0
        last = max(int(np.searchsorted(reached, before + most, side="right")), first + 1)
        yield first, last
        first = last


@numba.njit(nogil=True, cache=True)
def _add(source, target, strength, source_sum, target_sum, degree):  # type: ignore[no-untyped-def]
    """Add a batch's edges to the sums of their ends and to the degrees of their targets."""
    for edge in range(len(source)):
        source_sum[source[edge]] += strength[edge]
        target_sum[target[edge]] += strength[edge]
        degree[target[edge]] += 1


@numba.njit(nogil=True, cache=True)
def _weights(source, target, strength, source_sum, target_sum):  # type: ignore[no-untyped-def]
    weights = np.empty(len(source), np.float32)
    for edge in range(len(source)):
        weights[edge] = strength[edge] / np.sqrt(source_sum[source[edge]] * target_sum[target[edge]])
    return weights


@numba.njit(nogil=True, cache=True)
def _place(bits, source):  # type: ignore[no-untyped-def]
    """An edge's place among those of its target, as one number: heavier edges first, then lower sources.

    The bits of positive floats are in the order of the floats.
    """
    return ((LOW - np.uint64(bits)) << HALF) | np.uint64(source)


@numba.njit(nogil=True, cache=True)
def _append(source, target, bits, limits, back, first, cursor, places):  # type: ignore[no-untyped-def]
    """Append the places of edges within their limits to their targets' rows; ``back`` may be empty."""
    for edge in range(len(source)):
        row = target[edge] - first
        if 0 <= row < len(cursor):
            place = _place(bits[edge], source[edge])
            mutual = len(back) == 0 or _place(bits[edge], target[edge]) <= back[source[edge]]
            if mutual and place <= limits[target[edge]]:
                places[cursor[row]] = place
                cursor[row] += 1


@numba.njit(nogil=True, cache=True)
def _last_places(places, starts, cap, limits):  # type: ignore[no-untyped-def]
    """Set the limit of each row that has more than ``cap`` places."""
    for row in range(len(limits)):
        if starts[row + 1] - starts[row] > cap:
            limits[row] = np.sort(places[starts[row] : starts[row + 1]])[cap - 1]


@numba.njit(nogil=True, cache=True)
def _by_source(places, starts, counts):  # type: ignore[no-untyped-def]
    """Sources (ascending within a row) and weights of rows of places."""
    source = np.empty(counts.sum(), np.int64)
    bits = np.empty(len(source), np.uint32)
    at = 0
    for row in range(len(counts)):
        cells = places[starts[row] : starts[row] + counts[row]]
        ordered = np.sort((cells << HALF) | (cells >> HALF))
        for cell in ordered:
            source[at] = cell >> HALF
            bits[at] = LOW - (cell & LOW)
            at += 1
    return source, bits.view(np.float32)
