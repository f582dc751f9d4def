"""The run folder and the rules of writing it: nothing half-written is ever read, a finished stage is not run again.

Every stage owns one folder. ``manifest.json`` is written last and by renaming, so its presence means *finished*; it
holds the identity of the work (settings, seed, fingerprints of the inputs), so a stage whose identity has changed is
recognised as stale and is not replaced unless the user says so. A stage that was killed leaves ``started.json``: the
same identity may resume from the partial files, another one starts over.

What replaces a finished stage is made in the sibling folder ``.<name>.next`` and takes its place by renames once its
own manifest is written, so a replacement that fails or is killed leaves the finished stage as it was.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.locks import alone

TABLES = ("psi", "phi")
"""Embedding tables: they have a manifest of their own within their stage's folder."""
MANIFEST, STARTED = "manifest.json", "started.json"
LONGEST_SHOWN = 80
"""Characters of a value that an error repeats."""
VERSIONED_PACKAGES = ("torch", "torch-geometric", "dgl", "pytorch-lightning", "numpy", "pyarrow", "duckdb")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write ``path`` under a temporary name beside it and rename on success.

    A reader sees the old file or the whole new one. On an error the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_together(folder: Path, last: str) -> Iterator[Path]:
    """Write files and folders that belong together into a temporary folder; on success they take their places.

    Args:
        folder: of the results; what else it holds stays.
        last: name of the file that takes its place last: it says what the others were made with.
    """
    temporary = folder / f".{last}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        (folder / last).unlink(missing_ok=True)  # a command killed from here on has no figures, and measures again
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == last):
            if (folder / path.name).is_dir():
                shutil.rmtree(folder / path.name)
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (no NaN: an undefined figure is ``null``) under a temporary name, then rename.

    What has an ``as_json``, as figures have, stands in the file as that says; what else JSON does not know as its text.
    """
    with replacing(path) as temporary:
        text = json.dumps(
            value, indent=1, allow_nan=False, default=lambda each: getattr(each, "as_json", each.__str__)()
        )
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON that a stage wrote.

    Raises:
        InputError: if the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: {mend(path)}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable JSON ({error}): {mend(path)}") from None


def mend(path: Path) -> str:
    """What to do about a file of a stage that is missing or damaged.

    A finished stage is not run again, so it is the folder with the manifest that has to go.
    """
    for folder in path.parents:
        if (folder / MANIFEST).exists() and folder.name not in TABLES:
            return f"delete the folder {folder} and run the command that makes it again"
    return "the stage that writes it has not finished: run its command again"


def plain(value: Any) -> Any:
    """A JSON-like value as a file of JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def fingerprint(value: Any) -> str:
    """A short digest of any JSON-like value, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def source_fingerprint(path: Path) -> str:
    """A digest of a file's or folder's names, sizes and modification times, without reading the data."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    facts = [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return fingerprint(facts)


@dataclass(frozen=True)
class Run:
    """Where the parts of one run lie. ``root`` is ``runs/<run>``.

    Examples:
        >>> from pathlib import Path
        >>> from configs import Run
        >>> Run(Path("runs/notebook")).psi.as_posix()
        'runs/notebook/pretrain/psi'
    """

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def graph(self) -> Path:
        return self.root / "graph"

    @property
    def pretrain(self) -> Path:
        return self.root / "pretrain"

    @property
    def psi(self) -> Path:
        return self.pretrain / "psi"

    @property
    def encoded(self) -> Path:
        return self.root / "prerank" / "encoded"

    def system(self, name: str) -> Path:
        return self.root / "prerank" / name

    def bundle(self, name: str) -> Path:
        return self.root / "bundles" / name

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def reports(self) -> Path:
        return self.root / "reports"


class Stage:
    """One stage's folder: finished, partly done by the same work, or to be started over.

    Args:
        folder: the stage's own folder.
        settings: what determines the result besides the inputs (key → value, :meth:`configs.keys.Keys.settings`).
        inputs: name → identity of the stages or files that this one reads.
        overwrite: whether a stage that was finished with other settings or inputs may be replaced.
        keep: how to keep both, for the error where it may not.

    Attributes:
        home: the stage's own folder.
        folder: where its files are: ``home``, or between :meth:`start` and :meth:`finish` that of the successor.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str] | None = None,
        *,
        overwrite: bool = False,
        keep: str = "give run=NAME",
    ) -> None:
        self.home = self.folder = folder
        self.settings = dict(settings)
        self.inputs = dict(inputs or {})
        self.overwrite = overwrite
        self.keep = keep
        self.identity = fingerprint({"settings": self.settings, "inputs": self.inputs})

    @property
    def finished(self) -> bool:
        """Whether this very work was finished here before."""
        settle(self.home)
        manifest = self.home / MANIFEST
        return manifest.exists() and read_json(manifest)["identity"] == self.identity

    def require_same(self) -> None:
        """Refuse where other work was finished here that may not be overwritten.

        Raises:
            InputError: naming the settings that differ with both values, or the inputs.
        """
        if self.overwrite or self.finished or not (self.home / MANIFEST).exists():
            return
        remedy = f"{self.keep} to keep both, or overwrite=true to replace it"
        require_settings(self.home, self.settings, remedy)
        require_inputs(self.home, self.inputs, remedy)
        raise InputError(f"{self.home} was made by another version of this program: {remedy}")

    def start(self) -> bool:
        """Prepare the folder; return whether partial files of the same work lie there to resume from.

        Raises:
            InputError: as :meth:`require_same`.
        """
        settle(self.home)
        self.require_same()
        self.folder = beside(self.home, "next") if (self.home / MANIFEST).exists() else self.home
        started = self.folder / STARTED
        resumable = started.exists() and read_json(started)["identity"] == self.identity
        if not resumable and self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in list(self.folder.rglob(".*.tmp")):  # of `replacing` in a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        write_json(started, {"identity": self.identity})
        return resumable

    def finish(self, **facts: Any) -> None:
        """Write the manifest: from here on the folder may be read. A successor takes its place."""
        write_json(
            self.folder / MANIFEST,
            {
                "identity": self.identity,
                "settings": self.settings,
                "inputs": self.inputs,
                "versions": package_versions(),
                **facts,
            },
        )
        (self.folder / STARTED).unlink(missing_ok=True)
        settle(self.home)
        self.folder = self.home


def settle(home: Path) -> None:
    """Let a finished successor of a stage take its place, also one whose process was killed while it did so."""
    successor, predecessor = beside(home, "next"), beside(home, "old")
    if not ((successor / MANIFEST).exists() or predecessor.exists()):
        return
    with alone(successor):  # readers settle too
        if (successor / MANIFEST).exists():
            if home.exists():
                shutil.rmtree(predecessor, ignore_errors=True)
                home.replace(predecessor)
            successor.replace(home)
        if predecessor.exists() and home.exists():
            shutil.rmtree(predecessor)


def beside(home: Path, what: str) -> Path:
    """Where a stage's successor is made (``next``), and where its predecessor is while they change places (``old``)."""
    return home.with_name(f".{home.name}.{what}")


def identity_of(folder: Path, made_by: str) -> str:
    """The identity of a finished stage, to be named as an input of the next.

    Raises:
        InputError: if the stage has not finished; ``made_by`` is the command that the user should run.
    """
    manifest = folder / MANIFEST
    if not manifest.exists():
        settle(folder)
    if not manifest.exists():
        state = "is unfinished (it was interrupted)" if (folder / STARTED).exists() else "does not exist"
        raise InputError(f"{folder} {state}: run `{made_by}` first")
    identity: str = read_json(manifest)["identity"]
    return identity


def require_settings(folder: Path, asked: Mapping[str, Any], remedy: str) -> None:
    """Refuse a finished stage that was made with other settings.

    Args:
        folder: of the stage.
        asked: key → value; keys that the stage did not record do not matter.
        remedy: what to do.

    Raises:
        InputError: naming each key with both values.
    """
    if differences := differing_settings(folder, asked):
        raise InputError(f"{folder} was made with {differences}: {remedy}")


def differing_settings(folder: Path, asked: Mapping[str, Any]) -> str:
    """Each setting in which a finished stage differs, with both values; empty where none does."""
    recorded = read_json(folder / MANIFEST).get("settings", {})
    return "; ".join(
        f"{key}={_shown(recorded[key])}, asked for {_shown(value)}"
        for key, value in plain(dict(asked)).items()
        if key in recorded and recorded[key] != value
    )


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def require_inputs(folder: Path, current: Mapping[str, str], remedy: str) -> None:
    """Refuse a finished stage whose inputs have been made anew, with other settings, since it was made.

    Args:
        folder: of the stage.
        current: name → identity of the inputs as they are now; those that the stage did not read do not matter.
        remedy: what to do.

    Raises:
        InputError: naming the input.
    """
    recorded = read_json(folder / MANIFEST).get("inputs", {})
    differing = [name for name, identity in current.items() if recorded.get(name, identity) != identity]
    if differing == ["source"]:
        changes = f"source {recorded['source']}, now {current['source']}"
        raise InputError(f"{folder} was made from data that have changed since, or are gone ({changes}): {remedy}")
    if differing:
        raise InputError(
            f"{folder} was made from another {' and '.join(differing)} stage than the run holds now, which was made "
            f"again with other settings or data: {remedy}"
        )


def require_current(run: Run, stages: Iterable[tuple[Path, str]]) -> None:
    """Refuse stages that were made from another log or graph than the run holds now.

    Args:
        run: whose log and graph count, where they are there.
        stages: folder of a stage, and the command that makes it again.

    Raises:
        InputError: naming the stage and the command.
    """
    held = (("log", run.logs), ("graph", run.graph))
    current = {name: read_json(folder / MANIFEST)["identity"] for name, folder in held if (folder / MANIFEST).exists()}
    for folder, command in stages:
        if (folder / MANIFEST).exists():
            require_inputs(folder, current, f"run `{command} overwrite=true`")


def watch(run: Run | None) -> Callable[[], str]:
    """Look at what a command reads of its run; the function returned says if it has been made anew since, else ``""``.

    Reading takes no lock, so that a command whose files change under it fails in whatever way.
    """

    def held() -> dict[str, bytes]:
        stages = (run.logs, run.graph, run.pretrain) if run is not None else ()
        manifests = [folder / MANIFEST for folder in stages]
        return {path.parent.name: path.read_bytes() for path in manifests if path.exists()}

    def changed() -> str:
        now = held()
        names = [name for name, content in before.items() if now.get(name) != content]
        if not names or run is None:
            return ""
        return f"{run.root}: {' and '.join(names)} was made anew while this command read it: run the command again"

    before = held()
    return changed


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version()}
    for name in VERSIONED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
