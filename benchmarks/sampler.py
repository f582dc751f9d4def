"""Seeds per second of the Numba sampler against DGL's, on the same graph and fan-out, in one run.

``python benchmarks/sampler.py``: 250,000 nodes, 10 million directed edges with Zipf-like sources, fan-out [15, 10],
batches of 1,024; then a query-item-attribute graph. Rounds alternate between the samplers and the medians are compared,
so that a busy machine slows all. DGL runs on one thread and on all of them, since threads that wait for each other on a
busy machine are slower than one, and the ratio is to the faster. The ratio of the first graph must be at least 1.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping

os.environ["DGLBACKEND"] = "pytorch"

import numpy as np
import torch

from configs.console import say, table
from graph.store import Key, Relation
from pretrain.sampling import NeighbourSampler

FAN_OUT = [15, 10]
BATCH = 1024
ROUNDS, BATCHES_A_ROUND = 7, 30


def random_relation(key: Key, sources: int, targets: int, edges: int, seed: int) -> Relation:
    """Edges with uniform targets and skewed sources, de-duplicated, as CSR by target."""
    random = np.random.default_rng(seed)
    source = (sources * random.random(edges) ** 1.5).astype(np.int64)
    pairs = np.unique(random.integers(0, targets, edges) * sources + source)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pairs // sources, minlength=targets))]).astype(np.int64)
    return Relation(*key, indptr=indptr, indices=pairs % sources, weight=np.ones(len(pairs), np.float32))


def shopping_graph() -> tuple[dict[str, int], dict[Key, Relation], str]:
    """100,000 queries, 150,000 items and 2,000 brands, 10 million directed edges in all."""
    counts = {"query": 100_000, "item": 150_000, "brand": 2_000}
    sizes = {
        ("query", "engaged", "item"): 3_000_000,
        ("item", "engaged_by", "query"): 3_000_000,
        ("item", "co_engaged", "item"): 3_700_000,
        ("item", "has_brand", "brand"): 150_000,
        ("brand", "brand_of", "item"): 150_000,
    }
    relations = {
        key: random_relation(key, counts[key[0]], counts[key[2]], edges, seed)
        for seed, (key, edges) in enumerate(sizes.items())
    }
    return counts, relations, "item"


def plain_graph() -> tuple[dict[str, int], dict[Key, Relation], str]:
    """One type of node: 250,000 of them, 10 million directed edges."""
    key = ("node", "to", "node")
    return {"node": 250_000}, {key: random_relation(key, 250_000, 250_000, 10_000_000, 0)}, "node"


def ours(counts: Mapping[str, int], relations: Mapping[Key, Relation], kind: str) -> Callable[[np.ndarray], int]:
    """Sampling of one batch with the Numba sampler; returns the edges sampled."""
    sampler = NeighbourSampler(counts, relations, FAN_OUT, seed=0)

    def draw(seeds: np.ndarray) -> int:
        output = sampler.sample({kind: seeds}, {}, sampler.stream_of(seeds))
        return sum(len(row) for row in output.row.values())

    return draw


def theirs(
    counts: Mapping[str, int], relations: Mapping[Key, Relation], kind: str, threads: int
) -> Callable[[np.ndarray], int]:
    """The same with DGL's ``NeighborSampler`` (its fan-outs run from the input to the seeds)."""
    import dgl

    edges = {key: (torch.from_numpy(r.indices), torch.from_numpy(r.targets)) for key, r in relations.items()}
    graph = dgl.heterograph(edges, num_nodes_dict=dict(counts)).formats(["csc"])
    sampler = dgl.dataloading.NeighborSampler(FAN_OUT[::-1])

    def draw(seeds: np.ndarray) -> int:
        dgl.utils.set_num_threads(threads)
        _, _, blocks = sampler.sample(graph, {kind: torch.from_numpy(seeds)})
        return sum(int(block.num_edges(etype)) for block in blocks for etype in block.canonical_etypes)

    return draw


def compare(title: str, counts: Mapping[str, int], relations: Mapping[Key, Relation], kind: str) -> float:
    """Print seeds and edges per second of both; return the ratio of seeds per second."""
    random = np.random.default_rng(1)
    batches = [random.choice(counts[kind], BATCH, replace=False) for _ in range(BATCHES_A_ROUND)]
    everyone = torch.get_num_threads()
    draws = {"Numba, 1 thread": ours(counts, relations, kind)}
    draws |= {
        f"DGL, {threads} thread{'s' * (threads > 1)}": theirs(counts, relations, kind, threads)
        for threads in {1, everyone}
    }
    seconds: dict[str, list[float]] = {name: [] for name in draws}
    edges: dict[str, int] = {}
    for round_number in range(ROUNDS + 1):
        for name, draw in draws.items():
            start = time.perf_counter()
            edges[name] = sum(draw(batch) for batch in batches)
            if round_number:  # The first round compiles and fills caches.
                seconds[name].append(time.perf_counter() - start)
    rates = {name: BATCHES_A_ROUND * BATCH / statistics.median(durations) for name, durations in seconds.items()}
    best = max(rate for name, rate in rates.items() if name.startswith("DGL"))
    rows = [
        (name, f"{rate:,.0f}", f"{edges[name] / BATCHES_A_ROUND:,.0f}", f"{rate / best:.2f}")
        for name, rate in rates.items()
    ]
    table(title, ["sampler", "seeds/s", "edges a batch", "ratio"], rows)
    return rates["Numba, 1 thread"] / best


def main() -> int:
    """Compare on both graphs; exit status 1 if ours is the slower one on the plain graph."""
    say(f"fan-out {FAN_OUT}, batch {BATCH}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    ratio = compare("250k nodes, 10M directed edges, one type", *plain_graph())
    hetero = compare("250k query, item and brand nodes, 10M directed edges", *shopping_graph())
    say(f"ratio to DGL: {ratio:.2f} (one type), {hetero:.2f} (query-item-brand)")
    return 0 if ratio >= 1.0 else 1


if __name__ == "__main__":
    sys.exit(main())
