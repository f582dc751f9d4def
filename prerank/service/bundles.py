"""The bundle that answers: found, checked, warmed and swapped in while the one before goes on.

A bundle is put in place by a rename: of its folder, or of a link to it. What lies there is looked at again and again;
once its manifest is another one, the new bundle is loaded beside the old one and takes over between two requests. One
that cannot be loaded is refused, once, and the old one goes on. The one before stays in memory for
:meth:`Bundles.roll_back`, and answers at once if it is put in place again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs.errors import InputError
from prerank.serving.bundle import MANIFEST, sha256_of
from prerank.serving.scorer import Scorer
from prerank.web.logs import traceback_of, write_line

SHORT = 12
"""Characters of an identity that answers and log lines hold."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that is loaded.

    Attributes:
        scorer: its own.
        identity: SHA-256 of its manifest, which names the SHA-256 of every other file.
        folder: with every link resolved.
    """

    scorer: Scorer
    identity: str
    folder: Path

    @property
    def short(self) -> str:
        """Enough of the identity to tell bundles apart."""
        return self.identity[:SHORT]

    @property
    def facts(self) -> dict[str, str]:
        """What it is called, and of what system and run it is."""
        said = self.scorer.bundle.manifest
        return {"bundle": self.short} | {name: str(said.get(name)) for name in ("name", "system", "run", "written")}


def identity_of(folder: Path) -> str:
    """Of the bundle that lies there.

    Raises:
        InputError: if none does.
    """
    try:
        return sha256_of(folder / MANIFEST)
    except OSError as error:
        raise InputError(
            f"{folder} is no bundle: {MANIFEST}: {error.strerror}; `python -m prerank.export` makes one"
        ) from None


class Bundles:
    """One place where bundles are put, and the one of them that answers.

    Args:
        path: of the place.
        load: a folder to its scorer, verified; raises InputError for one that is damaged.
        warm: is called with each bundle before it answers.
    """

    def __init__(self, path: Path, load: Callable[[Path], Scorer], warm: Callable[[Bundle], None]) -> None:
        self.path, self.load, self.warm = path, load, warm
        self.current: Bundle | None = None
        self.previous: Bundle | None = None
        self.outcomes = {"loaded": 0, "refused": 0, "rolled_back": 0}
        self._lock = threading.Lock()
        self._unwanted: str | None = None

    def look(self) -> None:
        """Load what lies there now, unless it answers already, was refused or was rolled back from.

        Raises:
            InputError: if nothing answers yet, and what lies there cannot be loaded.
        """
        with self._lock:
            try:
                identity = identity_of(self.path)
            except InputError:
                if self.current is None:
                    raise
                return  # between two renames nothing lies there
            if self.current is not None and identity == self.current.identity:
                self._unwanted = None
            elif identity != self._unwanted:
                self._take(identity)

    def reload(self) -> None:
        """Look again, also at a bundle that was refused or rolled back from."""
        with self._lock:
            self._unwanted = None
        self.look()

    def roll_back(self) -> None:
        """Let the bundle before answer until another one than today's is put in place; a second time: forth again."""
        with self._lock:
            if self.current is None or self.previous is None:
                write_line("warning", "bundle", outcome="nothing to roll back to")
                return
            self._unwanted = self.current.identity
            self.current, self.previous = self.previous, self.current
            self._note("rolled_back")

    def _take(self, identity: str) -> None:
        started = time.perf_counter()
        try:
            known = self.previous is not None and identity == self.previous.identity
            bundle = self.previous if known and self.previous else self._loaded(identity)
        except Exception as error:
            if self.current is None:
                raise
            self._unwanted = identity
            self.outcomes["refused"] += 1
            trace = {} if isinstance(error, InputError) else {"traceback": traceback_of(error)}
            write_line("error", "bundle", outcome="refused", bundle=identity[:SHORT], error=str(error), **trace)
            return
        self._unwanted = None
        self.current, self.previous = bundle, self.current
        self._note("loaded", seconds=round(time.perf_counter() - started, 3))

    def _loaded(self, identity: str) -> Bundle:
        folder = self.path.resolve(strict=True)
        bundle = Bundle(self.load(folder), identity, folder)
        self.warm(bundle)
        if identity_of(folder) != identity:
            raise InputError(f"{folder} was replaced while it was loaded")
        return bundle

    def _note(self, outcome: str, **facts: float) -> None:
        self.outcomes[outcome] += 1
        assert self.current is not None
        write_line("info", "bundle", outcome=outcome, folder=self.current.folder, **self.current.facts, **facts)


class Watch:
    """Looks at the bundles' place from a thread of its own.

    Args:
        bundles: that are looked after.
        seconds: between two looks.
        failed: called if the first bundle cannot be loaded.
    """

    def __init__(self, bundles: Bundles, seconds: float, failed: Callable[[Exception], None]) -> None:
        self.bundles, self.seconds, self.failed = bundles, seconds, failed
        self._wake = threading.Event()
        self._wanted: list[Callable[[], None]] = []
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="bundles", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, wanted: Callable[[], None]) -> None:
        """Let the thread call one of the bundles' methods soon; safe in a signal's handler."""
        self._wanted.append(wanted)
        self._wake.set()

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    def _run(self) -> None:
        try:
            self.bundles.look()
        except Exception as error:
            self.failed(error)
            return
        while not self._ended:
            self._wake.wait(self.seconds)
            self._wake.clear()
            while self._wanted:
                self._wanted.pop(0)()
            self.bundles.look()
