"""Strengths to stored edges: normalising, capping and laying out, against loops over dictionaries."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest

from graph.adjacency import Strengths, capped, mutually_capped


def drawn(seed, sources=30, targets=20, pairs=200):
    """Random edges with many equal strengths, in no order."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(sources * targets, size=pairs, replace=False)
    return list(zip(cells // targets, cells % targets, rng.integers(1, 4, pairs) / 4.0, strict=True))


def strengths(edges, sources=30, targets=20, most=1 << 20, batch=7):
    def read():
        for start in range(0, len(edges), batch):
            source, target, strength = zip(*edges[start : start + batch], strict=True)
            yield np.array(source), np.array(target), np.array(strength, np.float64)

    return Strengths(read, sources, targets, most)


def laid_out(batches):
    return [
        (int(t), int(s), float(w))
        for target, source, weight in batches
        for t, s, w in zip(target, source, weight, strict=True)
    ]


def naive(edges, cap):
    """(target, source) → weight of the edges within the cap of their targets."""
    of_source, of_target, by_target = defaultdict(float), defaultdict(float), defaultdict(list)
    for source, target, strength in edges:
        of_source[source] += strength
        of_target[target] += strength
    for source, target, strength in edges:
        weight = float(np.float32(strength / math.sqrt(of_source[source] * of_target[target])))
        by_target[target].append((-weight, source))
    return {(t, s): -w for t, cells in by_target.items() for w, s in sorted(cells)[:cap]}


@pytest.mark.parametrize("cap", [1, 3, 100])
@pytest.mark.parametrize("most", [1, 10, 1 << 20])
def test_edges_are_normalised_capped_and_in_order(cap, most):
    edges = drawn(seed=cap)
    expected = [(t, s, w) for (t, s), w in sorted(naive(edges, cap).items())]
    assert laid_out(capped(strengths(edges, most=most), cap)) == expected
    assert laid_out(capped(strengths(edges[::-1], most=most), cap)) == expected


@pytest.mark.parametrize("cap", [1, 3, 100])
def test_the_reverse_is_capped_by_its_own_targets(cap):
    edges = drawn(seed=cap)
    expected = naive([(t, s, w) for s, t, w in edges], cap)
    found = laid_out(capped(strengths(edges, most=10).reversed(), cap))
    assert found == [(t, s, w) for (t, s), w in sorted(expected.items())]


@pytest.mark.parametrize("cap", [1, 2, 4, 100])
@pytest.mark.parametrize("most", [1, 10, 1 << 20])
def test_a_mutual_edge_is_within_the_caps_of_both_ends(cap, most):
    once = [(s, t, w) for s, t, w in drawn(seed=cap, sources=20) if s < t]
    one_way = naive(once + [(t, s, w) for s, t, w in once], cap)
    expected = [(t, s, w) for (t, s), w in sorted(one_way.items()) if (s, t) in one_way]
    assert laid_out(mutually_capped(strengths(once, sources=20, most=most).both_ways(), cap)) == expected


def test_no_edges_and_targets_without_any():
    assert laid_out(capped(strengths([]), 3)) == []
    assert laid_out(capped(strengths([(4, 19, 2.0)]), 3)) == [(19, 4, 1.0)]
