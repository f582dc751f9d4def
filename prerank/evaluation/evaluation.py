"""The figures of one system: how they are kept in files, and how two systems' figures are subtracted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from configs.errors import InputError
from configs.stages import read_json, replacing_together, write_json
from graph.figure import Difference, Figure
from prerank.evaluation.definitions import CHANCE, chance_of, unit_of
from prerank.evaluation.significance import difference_of_draws

SPLITS = ("validation", "test")
PROGRESSIVE = "progressive"
"""Folder within a fitted system's: the figures of the system that it went on from, on the rows that were new then."""

Cells = Mapping[str, Figure]
"""Metric → figure, of one segment."""
Metrics = Mapping[str, Mapping[str, Cells]]
"""Split → segment → metric → figure."""


@dataclass(frozen=True)
class Evaluation:
    """The figures of one system.

    Attributes:
        metrics: every metric in every segment of every split.
        protocol: how they were measured (clusters drawn, seed, segments, definitions), strict JSON.
        draws: the bootstrap draws of each metric, in the order of ``protocol["bootstrap"]``; NaN where undefined.
            Systems with the same ``pairing`` were resampled alike, so their draws can be subtracted.
    """

    metrics: Metrics
    protocol: dict[str, Any]
    draws: Float32[np.ndarray, "figures draws"]

    @cached_property
    def places(self) -> dict[tuple[str, str, str], int]:
        """The row of ``draws`` of each split, segment and metric."""
        return {(place[0], place[1], place[2]): row for row, place in enumerate(self.protocol["bootstrap"])}

    def draws_of(self, split: str, segment: str, metric: str) -> Float32[np.ndarray, " draws"]:
        """The bootstrap draws of one figure.

        Raises:
            KeyError: if there is no such figure.
        """
        return np.asarray(self.draws[self.places[split, segment, metric]])

    def write(self, folder: Path) -> None:
        """Write ``metrics.json``, ``evaluation.json`` and ``bootstrap.npy``; older ones stay until all are written."""
        with replacing_together(folder, last="evaluation.json") as fresh:
            np.save(fresh / "bootstrap.npy", self.draws, allow_pickle=False)
            write_json(fresh / "metrics.json", metrics_as_json(self.metrics))
            write_json(fresh / "evaluation.json", self.protocol)


def metrics_as_json(metrics: Metrics) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """What ``metrics.json`` holds: split → segment → metric → figure; strict JSON."""
    return {
        split: {segment: {name: cell.as_json() for name, cell in cells.items()} for segment, cells in segments.items()}
        for split, segments in metrics.items()
    }


def read_metrics(path: Path) -> Metrics:
    """Read a ``metrics.json``.

    Raises:
        InputError: if the file is missing, unreadable, or holds something else.
    """
    content = read_json(path)
    try:
        return {
            split: {
                segment: annotated({name: Figure.read(cell) for name, cell in cells.items()})
                for segment, cells in segments.items()
            }
            for split, segments in content.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no figures of an evaluation ({error!r}): evaluate the system again") from None


def read_evaluation(folder: Path) -> Evaluation:
    """Read what ``Evaluation.write`` wrote.

    Raises:
        InputError: if a file is missing or unreadable.

    Examples:
        >>> from configs import parse
        >>> from prerank import read_evaluation
        >>> grace = read_evaluation(parse(["run=notebook"]).run.system("grace"))
        >>> gauc = grace.metrics["test"]["all"]["gauc_click"]
        >>> gauc.low <= gauc.value <= gauc.high
        True
    """
    metrics, protocol = read_metrics(folder / "metrics.json"), read_json(folder / "evaluation.json")
    try:
        draws = np.load(folder / "bootstrap.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'bootstrap.npy'} is not readable ({error}): evaluate the system again") from None
    return Evaluation(metrics, protocol, draws)


def annotated(cells: Cells) -> dict[str, Figure]:
    """A segment's defined figures with their units, and with the chance levels that stand beside them or are known."""

    def of(name: str, figure: Figure) -> Figure:
        beside = cells.get(name + CHANCE)
        return replace(figure, unit=unit_of(name), chance=chance_of(name) if beside is None else beside.value)

    return {name: figure if figure.value is None else of(name, figure) for name, figure in cells.items()}


def paired_difference(
    a: Evaluation, b: Evaluation, metric: str, split: str = "test", segment: str = "all"
) -> Difference:
    """System a less system b on the same rows, over the draws that both were resampled by.

    Args:
        a: figures of one system; ``b`` likewise.
        metric: a name of ``metrics.json``.
        split: validation or test.
        segment: a name of ``prerank.evaluation.segments.SEGMENTS``.

    Returns:
        The difference; undefined, with a reason, where one of the systems cannot have the figure.

    Raises:
        InputError: if the systems were measured on different rows or draws, or have no such figure.

    Examples:
        >>> from configs import parse
        >>> from prerank import paired_difference, read_evaluation
        >>> run = parse(["run=notebook"]).run
        >>> grace, ple = (read_evaluation(run.system(name)) for name in ("grace", "ple"))
        >>> gain = paired_difference(grace, ple, "gauc_click")
        >>> gain.low <= gain.value <= gain.high
        True
    """
    if not is_paired(a, b, split):
        raise InputError(
            f"paired difference on {split}: the two systems must have been measured on the same rows with the same "
            "evaluation.draws and evaluation.seed: evaluate both on one log (python -m prerank.evaluate)"
        )
    for evaluation in (a, b):
        if (split, segment, metric) not in evaluation.places:
            known = sorted({name for part in evaluation.metrics.get(split, {}).values() for name in part})
            raise InputError(f"there is no {metric} of {segment} on {split}; metrics: {', '.join(known)}")
    figure_a, figure_b = (each.metrics[split][segment][metric] for each in (a, b))
    n = min(figure_a.n, figure_b.n)
    if figure_a.value is None or figure_b.value is None:
        return Difference.undefined(figure_a.reason or figure_b.reason or "undefined", n)
    draws_a, draws_b = (each.draws_of(split, segment, metric) for each in (a, b))
    return difference_of_draws(figure_a.value - figure_b.value, draws_a, draws_b, a.protocol["confidence"], n)


def is_paired(a: Evaluation, b: Evaluation, split: str) -> bool:
    """Whether two systems were measured on the same rows of a split with the same draws."""
    parts = [evaluation.protocol["splits"].get(split, {}).get("pairing") for evaluation in (a, b)]
    return parts[0] is not None and parts[0] == parts[1]


def measured_with(folder: Path) -> object:
    """What a fitted system's figures were made with (:class:`EvaluationContext`); None without figures."""
    try:
        protocol: object = read_evaluation(folder).protocol
    except InputError:
        return None
    return protocol.get("made_with") if isinstance(protocol, dict) else None
