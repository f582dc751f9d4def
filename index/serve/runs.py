"""What lies in ``runs_folder``: runs, their reports, their dates and key figures, and which files may be opened.

A file may be opened if it is one of the kinds named here and lies, with every link resolved, within the folder. Names
come from the disk and are untrusted: pages escape them.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.stages import read_json
from graph.figure import Figure
from index.report.figures import audit_figures

REPORTS = ("reports/*.html", "reports/*.md", "reports/*.svg", "reports/*.json")
PLACES = (
    *REPORTS,
    *(f"{folder}/*.{kind}" for folder in ("compare", "mechanisms", "ab") for kind in ("html", "md", "svg", "json")),
    *(f"tune/*/{name}" for name in ("tune.md", "tune.json", "best.yaml")),
    "index/audit.json",
    "prerank/[!.]*/metrics.json",
    "prerank/[!.]*/evaluation.json",
    "pretrain/metrics.json",
    "graph/graph.json",
    "logs/log.json",
    "config.yaml",
)
"""Every file that is shown, as patterns within a run's folder."""
OF_OTHER_RUNS = {
    "compare": "it is a comparison, whose fits are runs of their own: give runs_folder=…/compare/DATA to search those",
    "mechanisms": "it is an experiment on mechanisms, whose markets are runs of their own in its folder",
    "ab": "it is a replay of experiments, which has no items",
    "tune": "it is a search for keys, whose trials keep no items",
}
"""Folder of a run that stands for more than one log → why it has no items."""
KEY_METRICS = ("gauc_click", "auc_click", "gauc_order", "recall_at_10")


class RefusedError(Exception):
    """A path that may not be opened: outside of the folder, or not one of the files that are shown."""


@dataclass(frozen=True)
class RunFile:
    """One file of a run that may be opened.

    Args:
        path: within the run's folder, with forward slashes.
        written: when, UTC, ``YYYY-MM-DD HH:MM``.
        size: in bytes.
    """

    path: str
    written: str
    size: int

    @property
    def is_page(self) -> bool:
        return self.path.endswith(".html")

    @property
    def title(self) -> str:
        """Its name without folder and ending."""
        return self.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


@dataclass(frozen=True)
class AuditedOverlap:
    """What the list of runs says of an audit: the first overlap with ψ, with its chance level."""

    system: str
    name: str
    figure: Figure

    def as_json(self) -> dict[str, Any]:
        """The figure with the names beside it."""
        chance = {"chance": self.figure.chance}
        return {"system": self.system, "name": self.name, **self.figure.as_json(), **chance}


@dataclass(frozen=True)
class RunSummary:
    """What the list of runs says of one.

    Attributes:
        run: its name.
        written: when the newest file was, UTC; None where there is none.
        log_ends: last day of its log; None where it is not known.
        simulated: whether the log is.
        reports: paths of its pages.
        systems: system → metric → figure on all rows of the test split; what is not known is left out.
        audit: None where there is none.
    """

    run: str
    written: str | None
    log_ends: str | None
    simulated: bool
    reports: list[str]
    systems: dict[str, dict[str, Figure]]
    audit: AuditedOverlap | None

    def as_json(self) -> dict[str, Any]:
        """Strict JSON, a figure as its own ``as_json`` says."""
        systems = {
            system: {metric: figure.as_json() for metric, figure in figures.items()}
            for system, figures in self.systems.items()
        }
        audit = None if self.audit is None else self.audit.as_json()
        return {**{entry.name: getattr(self, entry.name) for entry in fields(self)}, "systems": systems, "audit": audit}


@dataclass(frozen=True)
class RunsFolder:
    """The folder of all runs.

    Args:
        root: with every link resolved; nothing outside of it is ever read.
    """

    root: Path

    @classmethod
    def open(cls, folder: str) -> RunsFolder:
        """Find the folder.

        Raises:
            InputError: if it does not exist.
        """
        root = Path(folder)
        if not root.is_dir():
            raise InputError(f"runs_folder={folder} does not exist: give the folder that holds the runs")
        return cls(root.resolve())

    def inside(self, path: Path) -> Path:
        """A path with its links resolved.

        Raises:
            RefusedError: if it leads out of the folder.
            FileNotFoundError: if there is nothing.
        """
        try:
            resolved = path.resolve(strict=True)
        except (RuntimeError, OSError, ValueError) as error:
            raise FileNotFoundError(str(path)) from error
        if not resolved.is_relative_to(self.root):
            raise RefusedError("it leads out of the folder of runs")
        return resolved

    def names(self) -> list[str]:
        """The runs: folders that are not hidden, within the folder, and whose names are text."""
        names = []
        for path in sorted(self.root.iterdir()):
            if not path.name.startswith(".") and _is_text(path.name) and path.is_dir():
                try:
                    self.inside(path)
                except (RefusedError, FileNotFoundError):
                    continue
                names.append(path.name)
        return names

    def run(self, name: str) -> Path:
        """The folder of a run.

        Raises:
            FileNotFoundError: if there is no such run.
            RefusedError: if it is a link that leads out of the folder.
        """
        if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
            raise FileNotFoundError(name)
        folder = self.inside(self.root / name)
        if not folder.is_dir():
            raise FileNotFoundError(name)
        return folder

    def files(self, name: str) -> list[RunFile]:
        """Every file of a run that may be opened: pages first, newest first among them, then the others by path."""
        folder, files = self.run(name), []
        for pattern in PLACES:
            for path in folder.glob(pattern):
                relative = path.relative_to(folder).as_posix()
                try:
                    facts = self.inside(path).stat()
                except (RefusedError, FileNotFoundError):
                    continue
                if stat.S_ISREG(facts.st_mode) and _is_text(relative):
                    files.append(RunFile(relative, _date(facts.st_mtime), facts.st_size))
        pages = sorted((file for file in files if file.is_page), key=lambda file: file.path)
        others = sorted((file for file in files if not file.is_page), key=lambda file: file.path)
        return sorted(pages, key=lambda file: file.written, reverse=True) + others

    def file(self, name: str, path: str) -> Path:
        """One file of a run, resolved.

        Raises:
            FileNotFoundError: if it is none of those that :meth:`files` lists.
            RefusedError: if it leads out of the folder of runs, or to a file of another kind.
        """
        wanted = self.run(name) / path
        if path not in {file.path for file in self.files(name)}:
            self.inside(wanted)
            raise FileNotFoundError(path)
        resolved = self.inside(wanted)
        if resolved.suffix != wanted.suffix:
            raise RefusedError("it leads to a file of another kind")
        return resolved

    def summary(self, name: str) -> RunSummary:
        """Dates, data, reports and key figures of a run."""
        files = self.files(name)
        log = self._json(name, "logs/log.json")
        last = [str(split["last"]) for split in _mapping(log.get("splits")).values() if _mapping(split).get("last")]
        return RunSummary(
            run=name,
            written=max((file.written for file in files), default=None),
            log_ends=max(last)[:10] if last else None,
            simulated=log.get("simulated") is True,
            reports=[file.path for file in files if file.is_page],
            systems=self._systems(name, files),
            audit=self._audit(name),
        )

    def _systems(self, name: str, files: list[RunFile]) -> dict[str, dict[str, Figure]]:
        systems = {}
        for file in files:
            if file.path.startswith("prerank/") and file.path.endswith("/metrics.json"):
                cells = _mapping(_mapping(_mapping(self._json(name, file.path)).get("test")).get("all"))
                figures = {metric: _figure(cells.get(metric)) for metric in KEY_METRICS}
                systems[file.path.split("/")[1]] = {
                    metric: each for metric, each in figures.items() if each is not None
                }
        return systems

    def _audit(self, name: str) -> AuditedOverlap | None:
        audit = self._json(name, "index/audit.json")
        for section, figure_name, entry in audit_figures(audit):
            figure = _figure(entry.as_json())
            if section == "overlap" and figure is not None:
                chance = _figure(_mapping(audit["overlap"]).get(f"{figure_name}_chance"))
                level = None if chance is None else chance.value
                return AuditedOverlap(str(audit.get("system")), figure_name, replace(figure, chance=level))
        return None

    def _json(self, name: str, path: str) -> dict[str, Any]:
        """A JSON file of a run, empty where it is not there or not readable."""
        try:
            return _mapping(read_json(self.inside(self.run(name) / path)))
        except (FileNotFoundError, RefusedError, InputError, OSError):
            return {}


def embeddings_of(runs: RunsFolder, name: str) -> dict[str, Path]:
    """Finished embedding tables of a run: ``psi``, and ``phi:<system>`` for every system with an item network."""
    folder = runs.run(name)
    return dict(_tables(runs, folder))


def without_items(folder: Path) -> str:
    """What to do about a run without items of its own; the end of a sentence."""
    for kind, words in OF_OTHER_RUNS.items():
        if (folder / kind).is_dir():
            return f": {words}"
    if (folder / "reports").is_dir():
        return ": it holds reports only"
    return f": run `python -m pretrain.run run={folder.name}`"


def _tables(runs: RunsFolder, folder: Path) -> Iterator[tuple[str, Path]]:
    candidates = [("psi", folder / "pretrain" / "psi")]
    candidates += [(f"phi:{path.parent.name}", path) for path in sorted((folder / "prerank").glob("[!.]*/phi"))]
    for name, path in candidates:
        try:
            for file in ("manifest.json", "ids.parquet", "vectors.safetensors"):
                runs.inside(path / file)
        except (FileNotFoundError, RefusedError):
            continue
        if _is_text(name):
            yield name, path


def _figure(entry: Any) -> Figure | None:
    """A figure as far as its parts are numbers; None without a value, so that a damaged file spoils nothing."""
    try:
        figure = Figure.read(entry)
    except (KeyError, TypeError):
        return None
    if not _is_number(figure.value):
        return None
    known = _is_number(figure.low) and _is_number(figure.high)
    n = figure.n if _is_number(figure.n) else 0
    return replace(figure, n=n) if known else replace(figure, n=n, low=None, high=None)


def _is_number(entry: Any) -> bool:
    return isinstance(entry, int | float) and not isinstance(entry, bool) and math.isfinite(entry)


def _mapping(entry: Any) -> dict[str, Any]:
    return entry if isinstance(entry, dict) else {}


def _is_text(name: str) -> bool:
    """Whether a file's name can be written as UTF-8; other bytes cannot stand in an address."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\\" not in name


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
