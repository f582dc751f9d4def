"""Where a page's figures come from: data, dates, seeds, epochs, the commit that wrote it, and when it was measured."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.stages import MANIFEST, Run, read_json

PACKAGE = "grace-prerank"
GIT_SECONDS = 5

Facts = Sequence[tuple[str, str]]
"""What a header says: a name and a text each; what is not known is left out."""


def provenance(run: Run, systems: Iterable[str], measured: Iterable[Path] = ()) -> Facts:
    """What the header of a page about a run's systems says.

    Args:
        run: whose log and ψ it was.
        systems: those on the page.
        measured: files that hold the figures; the newest one dates them.
    """
    log, fitted = _json(run.logs / "log.json"), [_json(run.system(name) / MANIFEST) for name in systems]
    settings = [_mapping(each.get("settings")) for each in fitted]
    pretrained = _mapping(_json(run.pretrain / MANIFEST).get("settings"))
    epochs = [
        ("ψ", [pretrained.get("pretrain.max_epochs")]),
        ("systems", [each.get("prerank.max_epochs") for each in settings]),
    ]
    facts = [
        ("data", _data(_mapping(_json(run.logs / MANIFEST).get("settings")), log)),
        ("dates", _dates(log)),
        ("seed", _listed([pretrained.get("seed"), *(each.get("seed") for each in settings)])),
        ("epochs at most", ", ".join(f"{name} {_listed(counts)}" for name, counts in epochs if _listed(counts))),
    ]
    return [*(fact for fact in facts if fact[1]), *written(measured)]


def written(measured: Iterable[Path]) -> Facts:
    """By which code a page was written, and when its newest figures were measured."""
    times = [path.stat().st_mtime for path in measured if path.exists()]
    when = datetime.fromtimestamp(max(times), UTC).strftime("%Y-%m-%d %H:%M UTC") if times else ""
    return [fact for fact in (("measured", when), ("code", code_version())) if fact[1]]


def is_simulated(run: Run) -> bool:
    """Whether the run's log says so of itself."""
    return _json(run.logs / "log.json").get("simulated") is True


@cache
def code_version() -> str:
    """The commit of the checkout that runs (``+``: with changes), else the version of the package; empty if neither."""
    here = Path(__file__)
    try:
        # Fails in a checkout of something else that an installed package lies in.
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        commit = _git(here.parent, "rev-parse", "--short=10", "HEAD")
        return commit + "+" * bool(_git(here.parent, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        return f"version {importlib.metadata.version(PACKAGE)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS)
    return done.stdout.strip()


def _data(settings: Mapping[str, Any], log: Mapping[str, Any]) -> str:
    """Which log it is, that it is simulated if it is, and how large."""
    name = settings.get("data.name")
    where = settings.get("data.world") if name == "marketplace" else Path(str(settings.get("data.path") or "")).name
    rows = log.get("rows")
    parts = [str(part) for part in (name, where) if part]
    parts += ["simulated"] * (log.get("simulated") is True)
    parts += [f"{rows:,} rows"] if isinstance(rows, int) else []
    return ", ".join(parts)


def _dates(log: Mapping[str, Any]) -> str:
    """First and last day of each split."""
    parts = []
    for name, split in _mapping(log.get("splits")).items():
        first, last = (str(_mapping(split).get(end) or "")[:10] for end in ("first", "last"))
        if last:
            parts.append(f"{name} {first} to {last}" if first and first != last else f"{name} {last}")
    return "; ".join(parts)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted({value for value in values if isinstance(value, int)})))


def _json(path: Path) -> Mapping[str, Any]:
    """A file of a run, empty where it is missing or damaged: a header must not be what a page fails on."""
    try:
        return _mapping(read_json(path))
    except (InputError, OSError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
