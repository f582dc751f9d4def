"""``python tests/mutants``: break the core on purpose, one place at a time, and see that a test notices.

Two kinds of breaks. *Named* ones are mistakes that someone could make in earnest (λ1 ignored, ψ centred over all items,
fusion weights chosen on test rows); :data:`NAMED` lists them. *Operator* breaks are made from the syntax tree of every
module that has a named one: comparisons and signs turned round, constants moved, conditions negated. A break that no
test of its module notices is a *survivor*: it is printed, and the program ends with status 1.

    python tests/mutants                       all named breaks
    python tests/mutants consistency           named breaks whose name holds the word
    python tests/mutants --operators [WORD]    operator breaks of the modules whose path holds the word

Each break is made in a copy of the tree and tested in a process that is forked after the heavy libraries have loaded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from named import NAMED, Mutant
from operators import operator_mutants

ROOT = Path(__file__).parents[2]
SECONDS = 240
"""A break that makes a test hang is noticed too."""


class Notice:
    """Whether tests notice a break: run in forks of this process, which has loaded what they need."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "project"
        files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
            "\n"
        )
        for file in filter(None, files):
            (self.tree / file).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / file).is_file():
                shutil.copy2(ROOT / file, self.tree / file)
        for name in ("pytest", "torch", "pytorch_lightning", "pyarrow.parquet", "numba", "sklearn", "omegaconf"):
            __import__(name)

    def tests_fail(self, mutant: Mutant) -> bool:
        original = (self.tree / mutant.file).read_bytes()
        mutant.apply(self.tree)
        try:
            return self._run(mutant.tests) != 0
        finally:
            (self.tree / mutant.file).write_bytes(original)

    def passes(self, tests: tuple[str, ...]) -> bool:
        """Whether the tests pass while nothing is broken: a test that always fails notices nothing."""
        return self._run(tests) == 0

    def _run(self, tests: tuple[str, ...]) -> int:
        child = os.fork()
        if child == 0:
            os._exit(self._test(tests))
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 1

    def _test(self, tests: tuple[str, ...]) -> int:
        import pytest

        os.setsid()
        os.chdir(self.tree)
        sys.path.insert(0, str(self.tree))
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Break the core on purpose and see that a test notices.")
    parser.add_argument("word", nargs="?", default="", help="part of a name, or with --operators of a module's path")
    parser.add_argument("--operators", action="store_true", help="breaks made from the syntax tree")
    options = parser.parse_args()
    if options.operators:
        core = {each.file: each.tests for each in NAMED if options.word in each.file}
        mutants = [each for file, tests in core.items() for each in operator_mutants(ROOT, file, tests)]
    else:
        mutants = [each for each in NAMED if options.word in each.name]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        notice, passing = Notice(Path(folder)), set[tuple[str, ...]]()
        for number, each in enumerate(mutants, 1):
            if each.tests not in passing and not notice.passes(each.tests):
                raise SystemExit(f"{' '.join(each.tests)} fails while nothing is broken")
            passing.add(each.tests)
            noticed = notice.tests_fail(each)
            survivors += not noticed
            print(f"{number}/{len(mutants)} {'noticed ' if noticed else 'SURVIVES'} {each.name}", flush=True)
    print(f"{len(mutants) - survivors} of {len(mutants)} breaks noticed")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
