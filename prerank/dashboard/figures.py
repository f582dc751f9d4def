"""What the dashboard measures beyond ``metrics.json``: attributes, calibration and gain curves of one system.

It is measured from ``predictions.parquet`` once and kept in ``prerank/<system>/dashboard/``, so that writing the page
after each fit of a run costs one system's work, not all systems'. Time is bounded: few draws, at most ``MOST_ROWS``
rows of a split (whole requests, the same ones for every system), at most ``MOST_ATTRIBUTES`` item columns.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32

from configs.console import warn
from configs.errors import InputError
from configs.stages import Stage, read_json
from graph.figure import Figure
from graph.logs.log import read_table
from graph.resampling import Resampler
from prerank.dashboard.attributes import Attribute, describe
from prerank.dashboard.curves import calibration, gain_curve
from prerank.evaluation.bootstrap import figure_of
from prerank.evaluation.evaluation import SPLITS
from prerank.evaluation.measures import SplitMeasures, SplitRows, split_rows
from prerank.evaluation.measuring import EvaluationContext
from prerank.evaluation.segments import segments_of

DRAWS = 200
"""Enough for an interval and, with the normal tail, a p-value; metrics.json has more."""
MOST_ROWS = 400_000
"""Of a split; a larger one is sampled by whole requests."""
CUTS = (10, 100)
"""Recall@k and hit rate by attribute are measured at the k of ``evaluation.recall_at`` nearest to these."""
METRICS = re.compile(
    r"(auc|score_auc|gauc|log_loss)_(click|order)|recall_(full_)?at_\d+(_chance)?|hit_rate_order_at_\d+"
)
VERSION = 1
"""Of the files; another one is measured again."""


@dataclass(frozen=True)
class Details:
    """What was measured of one system.

    Attributes:
        content: ``attributes`` (descriptions), ``confidence``, and ``splits``, each with ``metrics``, ``cells``
            (attribute → value → metric → figure), ``calibration`` and ``gains`` (segment → figures), ``pairing``,
            ``requests`` and ``of_requests``.
        draws: split → the draws of each cell, in the order of attributes, values and metrics; NaN where undefined.
        scores: split → the fused score of each (sampled) row.
    """

    content: dict[str, Any]
    draws: dict[str, Float32[np.ndarray, "figures draws"]]
    scores: dict[str, Float32[np.ndarray, " rows"]]


def read_split(path: Path, split: str) -> tuple[pa.Table, int]:
    """The rows of a split that the dashboard measures, and how many requests the split has.

    Raises:
        InputError: if the file is missing or damaged, or has no column ``split`` or ``request``.
    """
    table = read_table(path)
    missing = [name for name in ("split", "request") if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: expected the columns split and request; missing: {missing}")
    part = table.filter(pc.equal(table["split"].cast(pa.string()), split)).combine_chunks()
    _, request = np.unique(part["request"].to_numpy(), return_inverse=True)
    requests = int(request.max()) + 1 if len(part) else 0
    if len(part) > MOST_ROWS:
        # Drawn by number alone, so every system of the run keeps the same requests.
        order = np.random.default_rng(0).permutation(requests)
        rows_up_to = np.cumsum(np.bincount(request)[order])
        chosen = np.zeros(requests, dtype=bool)
        chosen[order[: max(1, int(np.searchsorted(rows_up_to, MOST_ROWS, side="right")))]] = True
        part = part.filter(pa.array(chosen[request])).combine_chunks()
    return part, requests


def system_details(
    folder: Path, identity: Mapping[str, str], attributes: Sequence[Attribute], context: EvaluationContext
) -> Details:
    """Measure a system, or read what was measured before of the same predictions on the same log.

    Args:
        folder: of the system.
        identity: what the figures depend on: the system's manifest, its predictions, the log.
        attributes: of the run's log.
        context: as the system was evaluated with.

    Raises:
        InputError: if predictions or the kept files are damaged.
    """
    settings = {
        "version": VERSION,
        "draws": DRAWS,
        "rows": MOST_ROWS,
        "attributes": describe(attributes),
        "confidence": context.settings.confidence,
        "seed": context.seed,
        "shares": [context.settings.head_share, context.settings.tail_share],
        "recall_at": list(context.settings.recall_at),
        "tasks_off": dict(context.tasks_off),
    }
    stage = Stage(folder / "dashboard", settings, identity, overwrite=True)
    if stage.finished:
        try:
            return _read(stage.folder)
        except InputError as error:
            warn(f"{error}; measured again")
            (stage.folder / "manifest.json").unlink()
    stage.start()
    details = measure(folder / "predictions.parquet", attributes, context)
    for split, draws in details.draws.items():
        np.save(stage.folder / f"draws_{split}.npy", draws, allow_pickle=False)
        np.save(stage.folder / f"scores_{split}.npy", details.scores[split], allow_pickle=False)
    stage.finish(content=details.content)
    return details


def measure(path: Path, attributes: Sequence[Attribute], context: EvaluationContext) -> Details:
    """Measure a system's predictions; see :class:`Details`."""
    content: dict[str, Any] = {
        "attributes": describe(attributes),
        "confidence": context.settings.confidence,
        "splits": {},
    }
    draws, scores = {}, {}
    for split in SPLITS:
        part, requests = read_split(path, split)
        if not len(part):
            continue
        if pc.max(part["item"]).as_py() >= len(context.sources.training_impressions):
            raise InputError(f"{path}: items beyond the run's catalogue: fit the system again")
        rows = split_rows(part)
        measures = SplitMeasures(rows, context.tasks_off, (), _cuts(context.settings.recall_at))
        resampler = Resampler(rows.clusters, DRAWS, context.seed)
        names, cells, drawn = _by_attribute(part, measures, attributes, resampler, context.settings.confidence)
        segments = segments_of(part, context.sources, context.settings.head_share, context.settings.tail_share)
        content["splits"][split] = {
            "requests": rows.requests,
            "of_requests": requests,
            "pairing": _pairing(part, rows, context.seed),
            "metrics": names,
            "cells": cells,
            **_curves(rows, measures, segments.masks, resampler, context),
        }
        draws[split], scores[split] = drawn, rows.score
    return Details(content, draws, scores)


def _by_attribute(
    part: pa.Table, measures: SplitMeasures, attributes: Sequence[Attribute], resampler: Resampler, confidence: float
) -> tuple[list[str], list[list[list[Figure]]], Float32[np.ndarray, "figures draws"]]:
    """The cells of each attribute's values, and their draws in the same order."""
    everything = measures.statistics(np.ones(len(part), dtype=bool))
    names = [name for name in everything if METRICS.fullmatch(name) and everything[name].n]
    cells: list[list[list[Figure]]] = []
    draws = []
    for attribute in attributes:
        codes = attribute.codes(part)
        cells.append([])
        for place in range(len(attribute.values)):
            statistics = measures.statistics(codes == place)
            cells[-1].append([])
            for name in names:
                drawn = statistics[name].draws(resampler)
                cells[-1][-1].append(figure_of(statistics[name], drawn, resampler.clusters, confidence))
                draws.append(drawn.astype(np.float32))
    return names, cells, np.stack(draws) if draws else np.empty((0, resampler.draws), np.float32)


def _curves(
    rows: SplitRows,
    measures: SplitMeasures,
    masks: Mapping[str, Bool[np.ndarray, " rows"]],
    resampler: Resampler,
    context: EvaluationContext,
) -> dict[str, Any]:
    """Calibration of the click head on exposed rows, and gain curves over all candidates, by segment."""
    curves: dict[str, Any] = {"calibration": {}, "gains": {}}
    confidence = context.settings.confidence
    for segment, mask in masks.items():
        if "click" in rows.heads and "click" not in context.tasks_off:
            exposed = mask & rows.exposed
            curves["calibration"][segment] = calibration(
                rows.clicked[exposed], rows.heads["click"][exposed], rows.cluster[exposed], resampler, confidence
            )
        curves["gains"][segment] = {
            task: gain_curve(
                mask & label & measures.candidates, measures.among_candidates, rows.cluster, resampler, confidence
            )
            for task, label in (("click", rows.clicked), ("order", rows.ordered))
            if task not in context.tasks_off
        }
    return curves


def _cuts(recall_at: Sequence[int]) -> list[int]:
    return sorted({min(recall_at, key=lambda k: abs(k - wanted)) for wanted in CUTS}) if recall_at else []


def _pairing(part: pa.Table, rows: SplitRows, seed: int) -> str:
    """Equal where two systems were measured on the same rows with the same draws."""
    digest = hashlib.sha256(f"{seed} {DRAWS}".encode())
    for column in (rows.request, rows.cluster, part["item"].to_numpy()):
        digest.update(np.ascontiguousarray(column, dtype=np.int64).tobytes())
    return digest.hexdigest()[:16]


def _read(folder: Path) -> Details:
    content = read_json(folder / "manifest.json")["content"]
    for part in content["splits"].values():
        part["cells"] = [[[Figure.read(cell) for cell in value] for value in values] for values in part["cells"]]
    arrays: dict[str, dict[str, Any]] = {"draws": {}, "scores": {}}
    for kind, by_split in arrays.items():
        for split in content["splits"]:
            path = folder / f"{kind}_{split}.npy"
            try:
                by_split[split] = np.load(path, allow_pickle=False)
            except (OSError, ValueError) as error:
                raise InputError(f"{path} is not readable ({error})") from None
    return Details(content, arrays["draws"], arrays["scores"])
