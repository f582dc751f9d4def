"""How fast psi learns: the real loop against DGL's sampler and messages and against PyG's loader, in one run.

``python benchmarks/psi.py run=NAME``: on the graph of a run that ``pretrain.run`` has made (the demo's: the simulated
marketplace), at that run's settings. Rounds alternate, each of the same batches with hard negatives and the same model;
medians and the range. Then the share of loading, and inference layer by layer against its sparse products alone.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

os.environ["DGLBACKEND"] = "pytorch"

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch_geometric.loader import LinkLoader
from torch_geometric.utils import scatter

from configs import Config, parse
from configs.console import say, table
from configs.schema import Backend
from graph.logs.log import SearchLog
from graph.store import Graph, Key
from graph.views import to_pyg
from pretrain.backends.batch import TargetBatch, ahead, epoch_order
from pretrain.encoder import GraphEncoder
from pretrain.inference import embed
from pretrain.node_features import NodeFeatures, node_features
from pretrain.psi import Lesson, initial_encoder, lesson
from pretrain.sampling import NeighbourSampler
from pretrain.sparse import sharing
from pretrain.targets import ENGAGED, TargetExclusions
from pretrain.training import optimiser_of, step

ROUNDS, BATCHES = 4, 8
PRODUCTS_A_ROUND = 7


class LoadedBlock:
    """One layer of a batch from PyG's loader, its messages gathered and scattered edge by edge."""

    def __init__(self, data: object, hops: int) -> None:
        self._data = data
        self.target_counts = {
            kind: sum(data[kind].num_sampled_nodes[:hops])  # type: ignore[index]
            for kind in data.node_types  # type: ignore[attr-defined]
        }
        self._edges = {
            key: sum(data[key].num_sampled_edges[:hops])  # type: ignore[index]
            for key in data.edge_types  # type: ignore[attr-defined]
        }

    def aggregate(
        self, relations: Sequence[Key], sources: Float32[Tensor, "sources width"]
    ) -> Sequence[Float32[Tensor, "targets width"]]:
        """Weighted means of each target's sources; 0 where it has none."""
        return [self._aggregate(relation, sources) for relation in relations]

    def _aggregate(self, relation: Key, sources: Float32[Tensor, "sources width"]) -> Float32[Tensor, "targets width"]:
        store, targets = self._data[relation], self.target_counts[relation[2]]  # type: ignore[index]
        row, col = store.edge_index[:, : self._edges[relation]]
        weight = store.edge_weight[: self._edges[relation]]
        total = scatter(weight, col, dim_size=targets).clamp(min=torch.finfo(weight.dtype).tiny)
        return scatter((weight / total[col])[:, None] * sources[row], col, dim_size=targets)


class LoadedBatches:
    """PyG's ``LinkLoader`` over the Numba sampler: ``HeteroData`` a batch (PyG's own sampler has no wheel)."""

    def __init__(self, taught: Lesson, features: dict[str, NodeFeatures], config: Config) -> None:
        wanted, graph, self._features = config.pretrain, taught.messages, features
        exclusions = TargetExclusions(graph.relations, wanted.cold_share)
        self._sampler = NeighbourSampler(
            graph.node_counts, graph.relations, wanted.fan_out, config.seed, exclusions, [taught.learning.hard]
        )
        pairs = taught.held.training.take(epoch_order(len(taught.held.training), config.seed, 0))
        ends = torch.from_numpy(np.stack([pairs.queries, pairs.items]))
        self._loader = LinkLoader(to_pyg(graph), self._sampler, (ENGAGED, ends), batch_size=wanted.batch_size)

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[TargetBatch]:
        """The batches of one epoch, always in the first one's order."""
        self._sampler.epoch = number
        for data in self._loader:
            target = data[ENGAGED]
            query_at, item_at = target.edge_label_index
            pairs = int(target.edge_label.sum())
            item_at = item_at.view(-1, pairs).T
            nodes = {kind: data[kind].n_id.numpy() for kind in data.node_types}
            yield TargetBatch(
                features={kind: self._features[kind].take(of) for kind, of in nodes.items() if len(of)},
                blocks=[LoadedBlock(data, hops) for hops in range(len(self._sampler.fan_out), 0, -1)],
                query_at=query_at[:pairs],
                item_at=item_at,
                queries=nodes["query"][query_at[:pairs].numpy()],
                items=nodes["item"][item_at.numpy()],
            )


def rounds(
    taught: Lesson, encoder: GraphEncoder, config: Config, overlapping: bool
) -> Callable[[], tuple[float, float]]:
    """One round of training, which returns its pairs a second and the share of the time spent waiting for batches."""
    learning, optimiser = taught.learning, optimiser_of(encoder, config.pretrain)

    @sharing(torch.get_num_threads())
    def once() -> tuple[float, float]:
        learning.hard.active = True
        made = learning.comparisons(islice(taught.batches.epoch(0), BATCHES + 2))
        compared = ahead(made) if overlapping else made
        for _ in range(2):
            step(encoder, learning, optimiser, next(compared))
        start, waited, pairs = time.perf_counter(), 0.0, 0
        for _ in range(BATCHES):
            asked = time.perf_counter()
            batch = next(compared)
            waited += time.perf_counter() - asked
            step(encoder, learning, optimiser, batch)
            pairs += len(batch.batch.queries)
        seconds = time.perf_counter() - start
        return pairs / seconds, waited / seconds

    return once


def training(graph: Graph, features: dict[str, NodeFeatures], config: Config) -> float:
    """Print pairs a second of all; return the ratio of ours to the better of the others."""
    ours = lesson(graph, features, config)
    dgl = lesson(graph, features, replace(config, backend=Backend.dgl))
    loaded = replace(ours, batches=LoadedBatches(ours, features, config))
    contenders = {
        "pretrain.run": rounds(ours, initial_encoder(graph, features, config), config, overlapping=True),
        "the same, batches not ahead": rounds(
            ours, initial_encoder(graph, features, config), config, overlapping=False
        ),
        "backend=dgl": rounds(dgl, initial_encoder(graph, features, config), config, overlapping=True),
        "PyG's LinkLoader and scatter": rounds(
            loaded, initial_encoder(graph, features, config), config, overlapping=True
        ),
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(ROUNDS + 1):
        for name, once in contenders.items():
            result = once()
            if number:  # The first round compiles and fills caches.
                measured[name].append(result)
    rates = {name: [rate for rate, _ in results] for name, results in measured.items()}
    best = max(statistics.median(of) for name, of in rates.items() if name.startswith(("backend", "PyG")))
    rows = [
        (
            name,
            f"{statistics.median(of):,.0f}",
            f"{min(of):,.0f} to {max(of):,.0f}",
            f"{statistics.median(share for _, share in measured[name]):.0%}",
            f"{statistics.median(of) / best:.2f}",
        )
        for name, of in rates.items()
    ]
    table("psi at the run's settings", ["", "pairs/s", "range", "waiting for batches", "ratio"], rows)
    return statistics.median(rates["pretrain.run"]) / best


def inference(graph: Graph, features: dict[str, NodeFeatures], encoder: GraphEncoder) -> float:
    """Print and return what share of inference its sparse products alone take, multiplied by torch (MKL) as CSR."""
    matrices = [_csr(graph.relations[key], graph.node_counts[key[0]]) for key in graph.relations]
    bags = [_bags(of) for of in features.values()]
    last = [number for number, key in enumerate(graph.relations) if key[2] in ("query", "item")]
    embeddings = encoder.nodes.table.weight.detach()
    hidden = {m.shape[1]: torch.randn(m.shape[1], encoder.widths[0]) for m in matrices}

    def products() -> None:
        for matrix in bags:
            matrix @ embeddings
        for layer in range(len(encoder.layers)):
            for number, matrix in enumerate(matrices):
                if layer < len(encoder.layers) - 1 or number in last:
                    matrix @ hidden[matrix.shape[1]]

    seconds: dict[str, list[float]] = {"products": [], "embed": []}
    for number in range(PRODUCTS_A_ROUND + 1):
        for name, do in (("products", products), ("embed", lambda: embed(encoder, graph, features))):
            start = time.perf_counter()
            do()
            if number:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(of) for name, of in seconds.items()}
    share = medians["products"] / medians["embed"]
    say(
        f"inference of all nodes: {medians['embed'] * 1000:.0f} ms ({min(seconds['embed']) * 1000:.0f} to "
        f"{max(seconds['embed']) * 1000:.0f}), its CSR products alone {medians['products'] * 1000:.0f} ms: {share:.0%}"
    )
    return share


def _csr(relation: object, columns: int) -> Tensor:
    weight = torch.from_numpy(np.array(relation.weight))  # type: ignore[attr-defined]
    indptr, indices = (torch.from_numpy(np.array(of, dtype=np.int32)) for of in (relation.indptr, relation.indices))  # type: ignore[attr-defined]
    return torch.sparse_csr_tensor(indptr, indices, weight, (len(indptr) - 1, columns), check_invariants=False)


def _bags(features: NodeFeatures) -> Tensor:
    indptr, indices = torch.from_numpy(features.indptr.astype(np.int32)), torch.from_numpy(features.indices)
    size = (len(indptr) - 1, len(features.buckets))
    return torch.sparse_csr_tensor(indptr, indices, torch.ones(len(indices)), size, check_invariants=False)


def main(arguments: Sequence[str]) -> int:
    """Compare; exit status 1 if the loop is less than 1.3 times as fast as the better of the others."""
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    invocation = parse(list(arguments))
    config = invocation.config
    graph, log = Graph.open(invocation.run.graph), SearchLog.open(invocation.run.logs)
    torch.set_num_threads(config.pretrain.threads)
    features = node_features(graph, log, config.data, config.pretrain)
    ratio = training(graph, features, config)
    inference(graph, features, initial_encoder(graph, features, config))
    return 0 if ratio >= 1.3 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
