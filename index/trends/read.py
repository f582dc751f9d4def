"""What runs measured, in order of time: the figures of every system and of the audit, each as a series of points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.command import run_config
from configs.console import say, warn
from configs.errors import InputError
from configs.schema import TrendsConfig
from configs.stages import Run, read_json
from graph.figure import Figure
from graph.logs.continuing import data_in_words
from index.report.figures import audit_figures
from index.trends.training import Training, audit_training, training_of
from prerank.evaluation.definitions import CHANCE
from prerank.evaluation.evaluation import PROGRESSIVE, Evaluation, read_evaluation

SPLIT = "test"
AUDIT_FILE = ("index", "audit.json")
OF_THE_AUDIT = "index/audit.json"
"""No system is called so: a folder's name has no slash."""


@dataclass(frozen=True)
class MeasuredRun:
    """One run as far as its figures go.

    Args:
        name: its folder within ``runs_folder``.
        day: last day of its log, ``YYYY-MM-DD``; None where the log is gone.
        written: when its figures were written (the newest of its files), UTC, ISO 8601.
        data: what log it holds, in words, so that unlike runs can be told.
        seed: that it was trained with; None where its ``config.yaml`` is gone.
        simulated: whether its log is the marketplace's.
        evaluations: system → its evaluation.
        audit: ``audit.json``, where there is one.
        trainings: system → how it was trained; the audit's under :data:`OF_THE_AUDIT`.
        origin: the run that it goes on from, whose systems its figures are about, on the rows that were new: measured
            before any of them was trained on. None for a run of its own.
    """

    name: str
    day: str | None
    written: str
    data: str
    seed: int | None
    simulated: bool
    evaluations: Mapping[str, Evaluation]
    audit: Mapping[str, Any] | None
    trainings: Mapping[str, Training]
    origin: str | None = None

    def training(self, key: FigureKey) -> Training:
        """How what the figure is about was trained."""
        return self.trainings.get(OF_THE_AUDIT if key.kind == "audit" else key.system, Training())


@dataclass(frozen=True)
class FigureKey:
    """Which figure a series is about.

    Args:
        kind: ``system`` or ``audit``.
        system: whose it is.
        section: the segment of a system's figure, the part of an audit (``purity/phi``).
        name: the metric or measure.
    """

    kind: str
    system: str
    section: str
    name: str


Series = dict[FigureKey, list[Figure | None]]
"""Which figure → what each run has for it, None where it has nothing."""


def measured_runs(folder: Path, settings: TrendsConfig) -> list[MeasuredRun]:
    """The runs that are compared, oldest first: by the last day of their logs, then by when they were measured.

    Args:
        folder: ``runs_folder``.
        settings: the ``trends`` section; a run may be named twice.

    Raises:
        InputError: if a named run or system is not there, or fewer than two runs hold figures.
    """
    if not folder.is_dir():
        raise InputError(f"runs_folder={folder} does not exist: give the folder that holds the runs")
    if settings.runs:
        runs = [_measured(folder, name, settings.systems) for name in settings.runs]
        for run in runs:
            if not run.evaluations and run.audit is None:
                raise InputError(
                    f"{folder / run.name} holds no figures{_of(settings.systems)}: run `python -m prerank.fit` or "
                    "`python -m index.audit` on it, or leave it out of trends.runs"
                )
    else:
        runs = _alike([_measured(folder, path.name, settings.systems) for path in _run_folders(folder)])
    if len(runs) < 2:
        raise InputError(
            f"{folder} has {len(runs)} run{'s' if len(runs) != 1 else ''} with figures{_of(settings.systems)}, a "
            "trend needs two: name them by trends.runs=[a,b], or fit another one"
        )
    if len({run.data for run in runs}) > 1:
        warn("the runs hold different data: " + "; ".join(f"{run.name}: {run.data}" for run in runs))
    return sorted(runs, key=lambda run: (run.day or "", run.written)) if _by_day(runs) else _by_writing(runs)


def order_in_words(runs: Sequence[MeasuredRun]) -> str:
    """By which date the runs stand in their order."""
    if not _by_day(runs):
        return "by when their figures were written, because a run's log is gone"
    if len({run.day for run in runs}) == 1:
        return f"by when their figures were written: all logs end on {runs[0].day}"
    return "by the last day of their logs; runs of one day by when their figures were written"


def series_of(runs: Sequence[MeasuredRun], settings: TrendsConfig) -> Series:
    """Every figure that at least two runs hold with a value.

    Raises:
        InputError: if a metric or segment that was asked for is in no run.
    """
    series: Series = {}
    for place, run in enumerate(runs):
        for key, figure in _figures(run):
            series.setdefault(key, [None] * len(runs))[place] = figure
    metrics = {key.name for key in series}
    segments = {key.section for key in series if key.kind == "system"}
    _require_known("trends.metrics", settings.metrics, metrics)
    _require_known("trends.segments", settings.segments, segments)
    chosen = {
        key: points
        for key, points in series.items()
        if (not settings.metrics or key.name in settings.metrics)
        and (not settings.segments or key.kind == "audit" or key.section in settings.segments)
    }
    shown = {key: points for key, points in chosen.items() if sum(value_of(point) is not None for point in points) >= 2}
    if not shown:
        raise InputError("no figure has a value in two of the runs: name runs of the same systems by trends.runs")
    if len(shown) < len(chosen):
        say(f"{len(chosen) - len(shown):,} of {len(chosen):,} figures have a value in fewer than two runs: left out")
    return shown


def value_of(figure: Figure | None) -> float | None:
    """A run's value; None where it lacks the figure, or has it undefined."""
    return None if figure is None else figure.value


def _figures(run: MeasuredRun) -> Iterator[tuple[FigureKey, Figure]]:
    for system, evaluation in run.evaluations.items():
        for segment, cells in evaluation.metrics.get(SPLIT, {}).items():
            for metric, figure in cells.items():
                if not metric.endswith(CHANCE):
                    yield FigureKey("system", system, segment, metric), figure
    if run.audit is not None:
        for section, name, figure in audit_figures(run.audit):
            yield FigureKey("audit", str(run.audit.get("system", "?")), section, name), figure


def _run_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _measured(folder: Path, name: str, systems: Sequence[str]) -> MeasuredRun:
    run = Run(folder / name)
    if not run.root.is_dir():
        raise InputError(f"trends.runs names {name!r}, which {folder} does not hold: give folders of runs_folder")
    evaluations, files = {}, []
    for path in sorted((run.root / "prerank").glob("[!.]*/metrics.json")):
        if systems and path.parent.name not in systems:
            continue
        try:
            before = path.parent / PROGRESSIVE
            evaluations[path.parent.name] = read_evaluation(before if before.is_dir() else path.parent)
            files.append(path)
        except InputError as error:
            warn(f"{name}: {path.parent.name} is left out: {error}")
    audit, audit_file = None, run.root.joinpath(*AUDIT_FILE)
    if audit_file.is_file():
        audit = read_json(audit_file)
        if systems and audit.get("system") not in systems:
            audit = None
        else:
            files.append(audit_file)
    newest = max((path.stat().st_mtime for path in files), default=0.0)
    written = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
    day, simulated, since = _log_facts(run)
    data, seed = _asked(run)
    trainings = _trainings(run, evaluations, audit)
    data, origin = since.get("data", data), since.get("run")
    return MeasuredRun(name, day, written, data, seed, simulated, evaluations, audit, trainings, origin)


def _trainings(run: Run, systems: Iterable[str], audit: Mapping[str, Any] | None) -> dict[str, Training]:
    trainings = {system: training_of(run, run.system(system) / "config.yaml") for system in systems}
    if audit is not None:
        trainings[OF_THE_AUDIT] = audit_training(run, trainings.get(str(audit.get("system")), Training()))
    return trainings


def _log_facts(run: Run) -> tuple[str | None, bool, dict[str, str]]:
    """The last day of the run's log, whether it is simulated, and what it goes on from, if anything."""
    if not (run.logs / "log.json").is_file():
        return None, False, {}
    facts = read_json(run.logs / "log.json")
    last = [str(split["last"]) for split in facts.get("splits", {}).values() if split.get("last")]
    return (max(last)[:10] if last else None), bool(facts.get("simulated", False)), facts.get("since", {})


def _asked(run: Run) -> tuple[str, int | None]:
    """Which log a run holds, in words, and its seed."""
    if not run.config.is_file():
        return "unknown", None
    config = run_config(run)
    return data_in_words(config.data), config.seed


def _alike(runs: Sequence[MeasuredRun]) -> list[MeasuredRun]:
    """The runs with figures that hold the same data as the newest of them; the others are named."""
    measured = _by_writing([run for run in runs if run.evaluations or run.audit is not None])
    if not measured:
        return []
    alike = [run for run in measured if run.data == measured[-1].data]
    left = [f"{run.name} ({run.data})" for run in measured if run not in alike]
    if left:
        say(f"left out, for they hold other data than {measured[-1].name} ({measured[-1].data}): {', '.join(left)}")
    return alike


def _by_day(runs: Sequence[MeasuredRun]) -> bool:
    return all(run.day is not None for run in runs)


def _by_writing(runs: Sequence[MeasuredRun]) -> list[MeasuredRun]:
    return sorted(runs, key=lambda run: run.written)


def _of(systems: Sequence[str]) -> str:
    return f" of {', '.join(systems)}" if systems else ""


def _require_known(key: str, asked: Sequence[str], known: set[str]) -> None:
    unknown = sorted(set(asked) - known)
    if unknown:
        raise InputError(f"{key}: no run has {', '.join(unknown)}; there are {', '.join(sorted(known))}")
