"""What a graph looks like: degrees, components, isolated nodes; for ``graph.json`` and for the reader of a build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from configs.console import say, table
from graph.store import Key, Relation

QUANTILES = {"min": 0.0, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9, "q99": 0.99, "max": 1.0}


def degree_facts(relation: Relation, sources: int) -> dict[str, dict[str, float]]:
    """Degrees over **all** nodes of either side: quantiles, mean, and how many nodes have an edge at all."""
    outgoing = np.zeros(sources, dtype=np.int64)
    for _, source, _ in relation.batches():
        outgoing += np.bincount(source, minlength=sources)
    return {"source": _quantiles(outgoing), "target": _quantiles(np.diff(relation.indptr))}


def component_facts(nodes: Mapping[str, int], relations: Mapping[Key, Relation]) -> dict[str, Any]:
    """Connected components of the union of all relations, as an undirected graph; node types side by side."""
    first = _offsets(nodes)
    parents = np.arange(sum(nodes.values()), dtype=np.int64)
    for (source_type, _, target_type), relation in relations.items():
        for target, source, _ in relation.batches():
            _join(parents, source + first[source_type], target + first[target_type])
    sizes = _sizes(parents)
    distinct, how_many = np.unique(sizes, return_counts=True)
    return {
        "count": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "sizes": [[int(size), int(n)] for size, n in zip(distinct[::-1], how_many[::-1], strict=True)],
    }


def isolated_facts(nodes: Mapping[str, int], relations: Mapping[Key, Relation]) -> dict[str, int]:
    """Nodes of each type without any edge, in either direction."""
    touched = {node_type: np.zeros(count, dtype=bool) for node_type, count in nodes.items()}
    for (source_type, _, target_type), relation in relations.items():
        touched[target_type] |= np.diff(relation.indptr) > 0
        for _, source, _ in relation.batches():
            touched[source_type][source] = True
    return {node_type: int((~flags).sum()) for node_type, flags in touched.items()}


def print_summary(facts: Mapping[str, Any]) -> None:
    """``graph.json`` for people."""
    days = facts["days"]
    plural = {"click": "clicks", "order": "orders", "touch": "touches"}
    events = ", ".join(f"{n:,} {plural[kind]}" for kind, n in facts["events"].items())
    say(f"training days {days[0]} to {days[-1]} ({len(days)}): {facts['rows']:,} rows, {events}")
    isolated = facts["isolated"]
    nodes = [(name, f"{count:,}", f"{isolated[name]:,}") for name, count in facts["nodes"].items()]
    table("nodes", ["type", "nodes", "without an edge"], nodes)
    rows = []
    for name, edges in facts["edges"].items():
        into = facts["degrees"][name]["target"]
        mean = f"{edges / max(into['connected'], 1):.1f}"
        before = f"{facts['edges_before_cap'][name]:,}"
        rows.append((name.replace("__", " "), f"{edges:,}", before, f"{into['connected']:,}", mean, into["max"]))
    columns = ["relation", "edges", "before the cap", "targets reached", "edges of each", "at most"]
    table("edges", columns, rows)
    components = facts["components"]
    alone = dict(components["sizes"]).get(1, 0)
    total = sum(facts["nodes"].values())
    say(
        f"{components['count']:,} connected components: the largest holds {components['largest']:,} of {total:,} nodes "
        f"({components['largest'] / max(total, 1):.1%}), {alone:,} are single nodes"
    )


@numba.njit(nogil=True, cache=True)
def _root(parents, node):  # type: ignore[no-untyped-def]
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@numba.njit(nogil=True, cache=True)
def _join(parents, source, target):  # type: ignore[no-untyped-def]
    """Union-find: one component for both ends of every edge, named by its lowest node."""
    for edge in range(len(source)):
        one, other = _root(parents, source[edge]), _root(parents, target[edge])
        parents[max(one, other)] = min(one, other)


@numba.njit(nogil=True, cache=True)
def _sizes(parents):  # type: ignore[no-untyped-def]
    """Nodes of each component."""
    sizes = np.zeros(len(parents), np.int64)
    for node in range(len(parents)):
        sizes[_root(parents, node)] += 1
    return sizes[sizes > 0]


def _quantiles(degrees: npt.NDArray[np.int64]) -> dict[str, float]:
    if not len(degrees):
        return {**dict.fromkeys(QUANTILES, 0.0), "mean": 0.0, "connected": 0}
    values = np.quantile(degrees, list(QUANTILES.values()), method="lower")
    named = {name: int(value) for name, value in zip(QUANTILES, values, strict=True)}
    return {**named, "mean": round(float(degrees.mean()), 4), "connected": int((degrees > 0).sum())}


def _offsets(nodes: Mapping[str, int]) -> dict[str, int]:
    starts = np.concatenate([[0], np.cumsum(list(nodes.values()))])
    return {node_type: int(start) for node_type, start in zip(nodes, starts, strict=False)}
