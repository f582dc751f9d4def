"""Training psi on a graph: split, learn, compare with the baselines, embed the subset P."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float32, Int64

from configs.console import say, warn
from configs.errors import InputError
from configs.keys import Keys
from configs.origin import origin_input
from configs.schema import Config, GraphObjective
from configs.stages import Run, Stage, write_json
from graph.coengagement import engagement, training_rows
from graph.engines import workbench
from graph.increment import read_item_events
from graph.logs.log import SearchLog
from graph.store import Graph
from pretrain.backends import batches
from pretrain.backends.batch import Batches
from pretrain.baselines import matrix_factorisation_scores, popularity_scores, random_scores
from pretrain.embeddings import EmbeddingTable
from pretrain.encoder import GraphEncoder
from pretrain.inference import embed
from pretrain.negatives import KnownPairs, PopularNegatives, SameCategoryNegatives
from pretrain.node_features import NodeFeatures, node_features
from pretrain.sampling import Negatives, Pairs
from pretrain.targets import (
    TargetExclusions,
    engaged_pairs,
    split_pairs,
    without,
    without_engagement_of,
)
from pretrain.training import BEST, Learning, best_epoch, fit, read_parameters
from pretrain.validation import Scores, candidates_of, metrics, ranks
from pretrain.warm_start import WarmStart

FEWEST_ITEMS = 2
"""Items of P below which no contrast can be learnt."""
Items = Int64[np.ndarray, " items"]
NO_ITEMS: Items = np.zeros(0, dtype=np.int64)
KEYS = Keys(
    ("pretrain", "data.features", "seed", "backend"),
    # What of the graph's keys decides P is in the graph's identity; the intervals are those of metrics.json, not of ψ.
    ("pretrain.threads", "graph", "engine", "evaluation.draws", "evaluation.confidence"),
)
"""What ψ is made with."""


@dataclass(frozen=True)
class TrainedPsi:
    """Psi of the subset P, and the encoder to induce it for any other item.

    Args:
        table: the rows of P, less the excluded items; dealt out to other items where ``pretrain.shuffled``.
        induce: item indices of any items → float32 [items, dimension], from what the graph without the excluded
            items' engagement knows about them.
    """

    table: EmbeddingTable
    induce: Callable[[Items], Float32[np.ndarray, "items dimension"]]


@dataclass(frozen=True)
class Held:
    """Training pairs, held-out pairs, and how a method's scores on these are judged."""

    training: Pairs
    held_out: Pairs
    known: KnownPairs
    candidates: Items

    def ranks(self, scores: Scores) -> np.ndarray:
        """Rank of every held-out item."""
        return ranks(scores, self.held_out, self.known, self.candidates)

    def mrr(self, scores: Scores) -> float:
        """The mean reciprocal rank."""
        return float((1.0 / self.ranks(scores)).mean())


def train_psi(
    graph: Graph,
    log: SearchLog,
    config: Config,
    folder: Path,
    excluded_items: Items = NO_ITEMS,
    origin: Run | None = None,
) -> TrainedPsi:
    """Train the encoder and embed P. A stage: skipped when finished, resumed when it was killed.

    Args:
        graph: of the training days.
        log: that the graph was made of.
        config: of which :data:`KEYS` count.
        folder: of the stage: ``checkpoints/``, ``psi/``, ``metrics.json``.
        excluded_items: item indices whose engagement is hidden: their query-item and item-item edges are neither
            learnt nor do they carry messages, and they are left out of P. Their attribute edges stay.
        origin: the run whose psi this one goes on from; None: it starts anew.

    Raises:
        InputError: if P would be empty, the graph has too few pairs, or a setting fits no training.
    """
    hidden = np.unique(excluded_items)
    stage = psi_stage(folder, graph.identity, log.identity, config, hidden, goes_on=origin is not None)
    config = KEYS.view(config)
    visible = without_engagement_of(graph, hidden) if len(hidden) else graph
    features = node_features(visible, log, config.data, config.pretrain)
    start = None if origin is None or stage.finished else WarmStart.of(origin, config)
    encoder = initial_encoder(visible, features, config, start)
    torch.set_num_threads(config.pretrain.threads)
    if stage.finished:
        say(f"psi: finished before, {folder}")
        parameters = read_parameters(folder / "checkpoints" / BEST)
        weight = parameters["nodes.table.weight"]
        if len(weight) > len(encoder.nodes.table.weight):
            # Trained before the empty buckets were left out.
            parameters["nodes.table.weight"] = weight[torch.from_numpy(features["item"].buckets)]
        encoder.load_state_dict(parameters)
        table = EmbeddingTable.load(folder / "psi")
    else:
        if stage.start():
            say(f"psi: resuming in {stage.folder}")
        subset = items_of_p(visible, log, config, stage.folder / "scratch", hidden)
        _learn(visible, features, encoder, config, stage.folder, start)
        vectors = embed(encoder, visible, features, ["item"])["item"].numpy()
        ids = log.items()["item_id"].combine_chunks().take(pa.array(subset))
        rows = vectors[subset]
        if config.pretrain.shuffled:
            rows = dealt_out(rows, config.seed)
            warn("psi: shuffled, the null control: every item of P has the row of another item of P")
        table = EmbeddingTable(ids, rows, log.catalogue, "psi")
        table.save(stage.folder / "psi")
        stage.finish(items=len(table), dimension=table.dimension, catalogue=log.catalogue)

    def induce(items: Items) -> Float32[np.ndarray, "items dimension"]:
        every = embed(encoder, visible, features, ["item"])["item"]
        embeddings: Float32[np.ndarray, "items dimension"] = every[torch.from_numpy(items)].numpy()
        return embeddings

    return TrainedPsi(table, induce)


def items_of_p(graph: Graph, log: SearchLog, config: Config, scratch: Path, hidden: Items) -> Items:
    """Indices of the items of P, ascending: those with at least ``pretrain.min_engagement`` engaged events.

    An event is what makes an edge of the graph: a click or an order of a training impression, or a touched item.

    Raises:
        InputError: if there are fewer than two.
    """
    ids = log.items()["item_id"].combine_chunks()
    count = read_item_events(graph) if "since" in graph.facts else _item_events(graph, log, config, scratch, ids)
    count[hidden] = 0
    subset = np.flatnonzero(count >= max(config.pretrain.min_engagement, 1))
    if len(subset) < FEWEST_ITEMS:
        raise InputError(
            f"psi would cover {len(subset)} items: the training days hold {int((count > 0).sum()):,} engaged items, "
            f"the most engaged one {int(count.max(initial=0))} times, and pretrain.min_engagement is "
            f"{config.pretrain.min_engagement}: lower it"
        )
    say(f"psi: P holds {len(subset):,} of {len(ids):,} items (at least {config.pretrain.min_engagement:g} events)")
    return subset


def _item_events(
    graph: Graph, log: SearchLog, config: Config, scratch: Path, ids: pa.Array
) -> Int64[np.ndarray, " items"]:
    """Events of each item in the graph's days, counted from the log."""
    with workbench(config.engine, scratch, config.graph.memory_limit_gb) as bench:
        rows = training_rows(bench.impressions(log.folder / "impressions"), graph.facts["days"])
        events = engagement(rows, config.graph, datetime.fromisoformat(str(graph.facts["end"])))
        counted = events.group_by("item_id").agg(events=events.count()).to_pyarrow()
    # Events on items that are not in the catalogue were warned of when the graph was built.
    known = counted.filter(pc.is_in(counted["item_id"], value_set=ids))
    count = np.zeros(len(ids), dtype=np.int64)
    count[pc.index_in(known["item_id"], value_set=ids).to_numpy()] = known["events"].to_numpy()
    return count


def dealt_out(rows: Float32[np.ndarray, "items dimension"], seed: int) -> Float32[np.ndarray, "items dimension"]:
    """The same rows, each at another item's place: one random cycle through all items, so that no item keeps its own.

    What a row says of the graph's geometry stays; what it says of its item is gone.
    """
    around = np.random.default_rng(seed).permutation(len(rows))
    dealt = np.empty_like(rows)
    dealt[around] = rows[np.roll(around, 1)]
    return dealt


def psi_stage(
    folder: Path, graph: str, log: str, config: Config, hidden: Items = NO_ITEMS, goes_on: bool = True
) -> Stage:
    """The stage of ψ; ``graph``, ``log``: identities of theirs; ``goes_on``: whether from that of ``from=``, if any."""
    settings = KEYS.settings(config) | {"hidden_items": hidden.tolist()}
    inputs = {"graph": graph, "log": log}
    if goes_on:
        inputs |= origin_input(config, folder, lambda run: run.pretrain, "python -m pretrain.run")
    return Stage(folder, settings, inputs, overwrite=config.overwrite)


def initial_encoder(
    graph: Graph, features: dict[str, NodeFeatures], config: Config, start: WarmStart | None = None
) -> GraphEncoder:
    """The encoder with its initial parameters; its table has the features' buckets only.

    The seed determines the parameters, or, for those that yesterday's encoder had, ``start``.
    """
    wanted = config.pretrain
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoder = GraphEncoder(
            sorted(graph.node_counts),
            sorted(graph.relations),
            wanted.text_buckets,
            wanted.text_dimension,
            wanted.hidden,
            wanted.dimension,
            len(wanted.fan_out),
        )
    if start is not None:
        start.give(encoder)
    encoder.nodes.reduce(torch.from_numpy(features["item"].buckets))
    return encoder


@dataclass(frozen=True)
class Lesson:
    """What ψ learns by: the graph less the held-out edges, its batches, the objective, the judge."""

    messages: Graph
    batches: Batches
    learning: Learning
    held: Held


def lesson(graph: Graph, features: dict[str, NodeFeatures], config: Config, start: WarmStart | None = None) -> Lesson:
    """Split the engaged pairs and make what training needs of them.

    Held out are pairs that no earlier encoder, which ``start`` comes from, has learnt.

    Raises:
        InputError: if there are too few pairs, or a setting fits no training.
    """
    wanted, seed, counts = config.pretrain, config.seed, graph.node_counts
    pairs = engaged_pairs(graph)
    unseen = None if start is None else start.unseen(pairs, graph)
    training, held_out = split_pairs(pairs, wanted.validation_share, seed, unseen)
    messages = without(graph, TargetExclusions(graph.relations)(held_out.queries, held_out.items))
    held = Held(training, held_out, KnownPairs.of(pairs, counts["query"]), candidates_of(pairs, seed))
    hard = SameCategoryNegatives(messages, training, wanted.hard_negatives)
    negatives: list[Negatives] = [hard]
    if wanted.objective is GraphObjective.graphsage:
        negatives.append(PopularNegatives(training, counts["item"], wanted.negatives))
    loader = batches(
        config.backend,
        messages,
        training,
        features,
        negatives,
        wanted.fan_out,
        wanted.batch_size,
        wanted.cold_share,
        seed,
    )
    learning = Learning.of(wanted, KnownPairs.of(training, counts["query"]), counts["item"], hard)
    return Lesson(messages, loader, learning, held)


def _learn(
    graph: Graph,
    features: dict[str, NodeFeatures],
    encoder: GraphEncoder,
    config: Config,
    folder: Path,
    start: WarmStart | None,
) -> None:
    """Fit the encoder; write ``metrics.json`` with the baselines on the same held-out pairs."""
    taught = lesson(graph, features, config, start)
    held, hard = taught.held, taught.learning.hard
    say(
        f"psi: {len(held.training):,} query-item edges to learn, {len(held.held_out):,} held out, "
        f"ranked among {len(held.candidates):,} items"
    )
    emptied = int((~np.isin(held.held_out.items, held.training.items)).sum())
    if emptied:
        warn(
            f"few items are engaged by more than one query: {emptied} of the {len(held.held_out)} held-out edges are "
            "their item's only one, so early stopping is unsure and the table below flatters what knows items by "
            "features"
        )
    if config.pretrain.hard_negatives and hard.attribute is None:
        say("psi: items have no attribute in the graph, so there are no same-category negatives")

    def scores() -> Scores:
        vectors = embed(encoder, taught.messages, features)
        queries, items = vectors["query"].numpy(), vectors["item"].numpy()
        return lambda of, among: queries[of] @ items[among].T

    history = fit(encoder, taught.batches, taught.learning, lambda _: held.mrr(scores()), folder / "checkpoints")
    _report(held, scores(), graph.node_counts, config, history, folder)


def _report(
    holdout: Held,
    psi: Scores,
    counts: dict[str, int],
    config: Config,
    history: list[dict[str, float]],
    folder: Path,
) -> None:
    methods = {
        "graphsage": psi,
        "matrix_factorisation": matrix_factorisation_scores(
            holdout.training, counts["query"], counts["item"], config.pretrain.dimension, holdout.mrr, config.seed
        ),
        "popularity": popularity_scores(holdout.training, counts["item"]),
        "random": random_scores(config.seed),
    }
    draws, confidence = config.evaluation.draws, config.evaluation.confidence
    validation = {
        name: metrics(holdout.ranks(scores), holdout.held_out.queries, draws, confidence, config.seed)
        for name, scores in methods.items()
    }
    write_json(
        folder / "metrics.json",
        {
            "validation": validation,
            "candidates": len(holdout.candidates),
            "epochs": len(history),
            "best_epoch": best_epoch(history),
            "seconds": round(sum(entry["seconds"] for entry in history), 1),
        },
    )
