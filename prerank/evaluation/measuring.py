"""From predictions to figures: every metric in every segment, with n and a bootstrap interval."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32

from configs.errors import InputError
from configs.schema import EvaluationConfig, ItemNetworkConfig
from graph.figure import Figure
from graph.resampling import Resampler
from prerank.encoding.batches import EncodedLog
from prerank.evaluation.bootstrap import figure_of
from prerank.evaluation.definitions import define
from prerank.evaluation.evaluation import SPLITS, Evaluation, Metrics, annotated
from prerank.evaluation.measures import SplitMeasures, SplitRows, split_rows
from prerank.evaluation.metrics import LOG_LOSS_CLIP
from prerank.evaluation.printing import print_evaluation
from prerank.evaluation.segments import Segments, SegmentSources, segments_of
from prerank.network.hash_id import bucket_loads


@dataclass(frozen=True)
class EvaluationContext:
    """What an evaluation needs besides the predictions.

    Attributes:
        sources: what segments are made from.
        cutoffs: K of eq. 6, as clipped to the log's lists.
        settings: the ``evaluation`` section.
        seed: of the bootstrap.
        tasks_off: task (click, order, rank) → why this log cannot have it.
        made_with: what the figures depend on besides the fitted system and the log: keys, the fusion rule, ψ.
    """

    sources: SegmentSources
    cutoffs: Sequence[int]
    settings: EvaluationConfig
    seed: int
    tasks_off: Mapping[str, str] = field(default_factory=dict)
    made_with: Mapping[str, Any] = field(default_factory=dict)


def evaluation_context(
    encoded: EncodedLog,
    settings: EvaluationConfig,
    in_p: Bool[np.ndarray, " items"] | None,
    item: ItemNetworkConfig,
    trained: EncodedLog | None = None,
) -> EvaluationContext:
    """The context of a fitted run, on its own log or on a new one.

    Args:
        encoded: the log that is evaluated; item segments come from its items' training counts.
        settings: the ``evaluation`` section.
        in_p: whether ψ has a row for each item; None without ψ.
        item: the item network of the system, which says how ids are hashed, if at all.
        trained: the log whose training split the system was fitted on, where ``encoded`` is a new one.
    """
    sources = SegmentSources(
        training_impressions=encoded.training_counts.impressions,
        in_p=in_p,
        bucket_load=bucket_loads(encoded.items.item_hash, item) if item.use_hash_id else None,
        training_queries=(trained or encoded).training_queries,
    )
    tasks = encoded.schema.tasks
    tasks_off = {name: str(task["reason"]) for name, task in tasks.items() if not task["available"]}
    return EvaluationContext(sources, encoded.schema.cutoffs, settings, settings.seed, tasks_off)


def evaluate_predictions(predictions: pa.Table, context: EvaluationContext) -> Evaluation:
    """Measure every metric in every segment of validation and test, and print the main ones.

    Raises:
        InputError: if a column is missing or a score is not finite.
    """
    metrics: dict[str, dict[str, dict[str, Figure]]] = {}
    facts: dict[str, Any] = {}
    index: list[list[str]] = []
    draws: list[Float32[np.ndarray, " draws"]] = []
    for split in SPLITS:
        part = predictions.filter(pc.equal(predictions["split"].cast(pa.string()), split)).combine_chunks()
        if not len(part):
            continue
        rows, measures, segments = _measures(part, context)
        resampler = Resampler(rows.clusters, context.settings.draws, context.seed)
        metrics[split] = {}
        for segment, mask in segments.masks.items():
            cells: dict[str, Figure] = {}
            for name, statistic in measures.statistics(mask).items():
                drawn = statistic.draws(resampler)
                cells[name] = figure_of(statistic, drawn, rows.clusters, context.settings.confidence)
                index.append([split, segment, name])
                draws.append(drawn.astype(np.float32))
            metrics[split][segment] = annotated(cells)
        facts[split] = _split_facts(part, rows, measures, segments, context)
    if not metrics:
        raise InputError("predictions: no row of the validation or the test split, so there is nothing to evaluate")
    protocol = _protocol(context, facts, index, metrics)
    print_evaluation(metrics, protocol)
    return Evaluation(metrics, protocol, np.stack(draws))


def _measures(predictions: pa.Table, context: EvaluationContext) -> tuple[SplitRows, SplitMeasures, Segments]:
    rows = split_rows(predictions)
    settings = context.settings
    segments = segments_of(predictions, context.sources, settings.head_share, settings.tail_share)
    return rows, SplitMeasures(rows, context.tasks_off, context.cutoffs, settings.recall_at), segments


def _split_facts(
    predictions: pa.Table, rows: SplitRows, measures: SplitMeasures, segments: Segments, context: EvaluationContext
) -> dict[str, Any]:
    digest = hashlib.sha256(f"{context.seed} {context.settings.draws}".encode())
    for column in (rows.request, rows.cluster, predictions["item"].to_numpy()):
        digest.update(np.ascontiguousarray(column, dtype=np.int64).tobytes())
    first = (measures.by_score.better == 0) & measures.ranked
    return {
        "rows": len(predictions),
        "requests": rows.requests,
        "exposed": int(rows.exposed.sum()),
        "random": int(rows.random.sum()),
        "clicks": int(rows.clicked.sum()),
        "orders": int(rows.ordered.sum()),
        "unit": rows.cluster_unit.removesuffix("_id"),
        "clusters": rows.clusters,
        "longest_list": measures.longest_ranked,
        "whole_recalled_sets": len(np.unique(rows.request[rows.whole])),
        "recall_at": measures.recall_at,
        "recall_left_out": measures.recall_left_out,
        "share_of_first_places_tied": float((measures.by_score.tied[first] > 1).mean()) if first.any() else None,
        "segments": {
            name: {**facts, "rows": int(segments.masks[name].sum())} for name, facts in segments.facts.items()
        },
        "segments_left_out": segments.left_out,
        "pairing": digest.hexdigest()[:16],
    }


def _protocol(
    context: EvaluationContext,
    facts: Mapping[str, Any],
    index: list[list[str]],
    metrics: Metrics,
) -> dict[str, Any]:
    names = dict.fromkeys(name for split in metrics.values() for cells in split.values() for name in cells)
    return {
        "made_with": dict(context.made_with),
        "draws": context.settings.draws,
        "confidence": context.settings.confidence,
        "interval": "percentile bootstrap; widened to hold the value where the draws miss it",
        "seed": context.seed,
        "log_loss_clip": LOG_LOSS_CLIP,
        "ties": "half a pair in an AUC; Recall@k and hit rates are expectations over random tie-breaking",
        "tasks_off": dict(context.tasks_off),
        "cutoffs": list(context.cutoffs),
        "segments_left_out": {k: v for split in facts.values() for k, v in split["segments_left_out"].items()},
        "splits": dict(facts),
        "definitions": {name: define(name) for name in names},
        "bootstrap": index,
    }
