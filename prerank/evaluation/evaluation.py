"""From predictions to ``metrics.json``: every metric in every segment, with n and a bootstrap interval."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32

from configs.command import settings
from configs.console import say, table, warn
from configs.errors import InputError
from configs.schema import EvaluationConfig, ItemNetworkConfig
from configs.stages import read_json, replacing, write_json
from prerank.encoding.batches import EncodedLog
from prerank.evaluation.definitions import define
from prerank.evaluation.fusion import RULE
from prerank.evaluation.measures import SplitMeasures, SplitRows, split_rows
from prerank.evaluation.metrics import LOG_LOSS_CLIP
from prerank.evaluation.segments import Segments, SegmentSources, say_left_out, segments_of
from prerank.evaluation.significance import Resampler, difference_of_draws, figure
from prerank.network.hash_id import bucket_loads

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class EvaluationContext:
    """What an evaluation needs besides the predictions.

    Attributes:
        sources: what segments are made from.
        cutoffs: K of eq. 6, as clipped to the log's lists.
        settings: the ``evaluation`` section.
        seed: of the bootstrap.
        tasks_off: task (click, order, rank) → why this log cannot have it.
    """

    sources: SegmentSources
    cutoffs: Sequence[int]
    settings: EvaluationConfig
    seed: int
    tasks_off: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The figures of one system.

    Attributes:
        metrics: ``{split: {segment: {metric: {value, low, high, n}}}}``, strict JSON.
        protocol: how they were measured (units drawn, seed, segments, definitions), strict JSON.
        draws: the bootstrap draws of each metric, in the order of ``protocol["bootstrap"]``; NaN where undefined.
            Systems with the same ``pairing`` were resampled alike, so their draws can be subtracted.
    """

    metrics: dict[str, dict[str, dict[str, dict[str, Any]]]]
    protocol: dict[str, Any]
    draws: Float32[np.ndarray, "figures draws"]

    def write(self, folder: Path) -> None:
        """Write ``metrics.json``, ``evaluation.json`` and ``bootstrap.npy``; an interrupted one leaves no metrics."""
        forget_figures(folder)
        with replacing(folder / "bootstrap.npy") as temporary, temporary.open("wb") as file:
            np.save(file, self.draws, allow_pickle=False)
        write_json(folder / "evaluation.json", self.protocol)
        write_json(folder / "metrics.json", self.metrics)


def made_with(evaluation: EvaluationConfig) -> dict[str, Any]:
    """What figures depend on besides the fitted system: ``evaluation`` keys and how fusion weights are chosen."""
    return {**settings(evaluation), "fusion": RULE}


def measured_with(folder: Path) -> object:
    """What a fitted system's figures were made with (:func:`made_with`); None without figures."""
    try:
        protocol: object = read_evaluation(folder).protocol
    except InputError:
        return None
    return protocol.get("made_with") if isinstance(protocol, dict) else None


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
        training_queries=(trained or encoded).split("train").requests["query"],
    )
    tasks = encoded.schema.tasks
    tasks_off = {name: str(task["reason"]) for name, task in tasks.items() if not task["available"]}
    return EvaluationContext(sources, encoded.schema.cutoffs, settings, settings.seed, tasks_off)


def evaluate_predictions(predictions: pa.Table, context: EvaluationContext) -> Evaluation:
    """Measure every metric in every segment of validation and test, and print the main ones.

    Raises:
        InputError: if a column is missing or a score is not finite.
    """
    metrics: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
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
            metrics[split][segment] = made = {}
            for name, statistic in measures.statistics(mask).items():
                drawn = statistic.draws(resampler)
                made[name] = figure(statistic, drawn, rows.clusters, context.settings.confidence)
                index.append([split, segment, name])
                draws.append(drawn.astype(np.float32))
        facts[split] = _split_facts(part, rows, measures, segments, context)
    if not metrics:
        raise InputError("predictions: no row of the validation or the test split, so there is nothing to evaluate")
    protocol = _protocol(context, facts, index, metrics)
    print_evaluation(metrics, protocol)
    return Evaluation(metrics, protocol, np.stack(draws))


def paired_difference(
    a: Evaluation, b: Evaluation, metric: str, split: str = "test", segment: str = "all"
) -> dict[str, Any]:
    """System a less system b on the same rows, over the draws that both were resampled by.

    Args:
        a: figures of one system; ``b`` likewise.
        metric: a name of ``metrics.json``.
        split: validation or test.
        segment: a name of ``prerank.evaluation.segments.SEGMENTS``.

    Returns:
        ``value``, ``low``, ``high``, two-sided ``p``, ``visible`` (the smallest true difference that such data show
        with 80 % power) and ``n``; null with a ``reason`` where one of the systems cannot have the figure.

    Raises:
        InputError: if the systems were measured on different rows or draws, or have no such figure.
    """
    if not is_paired(a, b, split):
        raise InputError(
            f"paired difference on {split}: the two systems must have been measured on the same rows with the same "
            "evaluation.draws and evaluation.seed: evaluate both on one log (python -m prerank.evaluate)"
        )
    place = [split, segment, metric]
    figures, draws = [], []
    for evaluation in (a, b):
        if place not in evaluation.protocol["bootstrap"]:
            known = sorted({name for part in evaluation.metrics.get(split, {}).values() for name in part})
            raise InputError(f"there is no {metric} of {segment} on {split}; metrics: {', '.join(known)}")
        figures.append(evaluation.metrics[split][segment][metric])
        draws.append(np.asarray(evaluation.draws[evaluation.protocol["bootstrap"].index(place)]))
    n = min(figure["n"] for figure in figures)
    for found in figures:
        if found["value"] is None:
            nothing = dict.fromkeys(("value", "low", "high", "p", "visible"))
            return {**nothing, "n": n, "reason": found["reason"]}
    gap = figures[0]["value"] - figures[1]["value"]
    return {**difference_of_draws(gap, draws[0], draws[1], a.protocol["confidence"]), "n": n}


def is_paired(a: Evaluation, b: Evaluation, split: str) -> bool:
    """Whether two systems were measured on the same rows of a split with the same draws."""
    parts = [evaluation.protocol["splits"].get(split, {}).get("pairing") for evaluation in (a, b)]
    return parts[0] is not None and parts[0] == parts[1]


def print_evaluation(metrics: Mapping[str, Any], protocol: Mapping[str, Any]) -> None:
    """Print the main metrics of each split (by segment on test), and warn about everything that is undefined."""
    for task, reason in protocol["tasks_off"].items():
        warn(f"task {task} is off: {reason}")
    for split, segments in metrics.items():
        facts = protocol["splits"][split]
        recall = [f"recall_at_{k}" for k in (10, *facts["recall_at"]) if k in facts["recall_at"]][:1]
        shown = ["auc_click", "auc_order", "gauc_click", *recall]
        title = (
            f"{split}: {facts['rows']:,} rows, {facts['requests']:,} requests; "
            f"{protocol['confidence']:.0%} intervals, {facts['clusters']:,} {facts['unit']}s resampled"
        )
        wanted = segments if split == "test" else {"all": segments["all"]}
        lines = [[segment, *(_cell(found, name) for name in shown)] for segment, found in wanted.items()]
        table(title, ["segment", *shown], lines)
        for name, found in segments["all"].items():
            if found["value"] is None and "one class" in found["reason"]:
                warn(f"{split}: {name} is undefined: {found['reason']}")
        if facts["recall_left_out"]:
            left = ", ".join(str(k) for k in facts["recall_left_out"])
            say(f"{split}: Recall@k is left out for k = {left}: no list is longer ({facts['longest_list']} items)")
        whole = facts["whole_recalled_sets"]
        say(
            f"{split}: recall_at_k is measured on the ranked lists"
            + (
                f", recall_full_at_k on the whole recalled sets of {whole:,} requests"
                if whole
                else "; the log has no whole recalled set for recall_full_at_k"
            )
        )
    say_left_out(protocol["segments_left_out"])


def forget_figures(folder: Path) -> None:
    """Remove the figures of what is about to be predicted anew, so that no older ones are taken for them."""
    for name in ("metrics.json", "evaluation.json"):
        (folder / name).unlink(missing_ok=True)


def read_evaluation(folder: Path) -> Evaluation:
    """Read what ``Evaluation.write`` wrote.

    Raises:
        InputError: if a file is missing or unreadable.
    """
    metrics, protocol = read_json(folder / "metrics.json"), read_json(folder / "evaluation.json")
    try:
        draws = np.load(folder / "bootstrap.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'bootstrap.npy'} is not readable ({error}): evaluate the system again") from None
    return Evaluation(metrics, protocol, draws)


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
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, Any]:
    names = dict.fromkeys(name for split in metrics.values() for found in split.values() for name in found)
    return {
        "made_with": made_with(context.settings),
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


def _cell(found: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """Value, interval, n and, where a metric has one, its chance level, on two lines."""
    shown = found.get(name, {"value": None, "n": 0})
    if shown["value"] is None:
        return f"–\nn {shown['n']:,}"
    interval = "" if shown["low"] is None else f" ({shown['low']:.3f}–{shown['high']:.3f})"
    chance = found.get(f"{name}_chance", {}).get("value")
    return f"{shown['value']:.3f}{interval}\nn {shown['n']:,}" + ("" if chance is None else f", chance {chance:.3f}")
