"""Trials in processes of their own, none of which outlives the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from configs.errors import InputError
from prerank.experiment.pool import ONE_THREAD
from prerank.tune.search import Outcome

COMMAND = (sys.executable, "-m", "prerank.tune.trial")


class Processes:
    """Some processes at a time, each for one trial; leaving the context ends those that still run.

    Args:
        workers: at a time.
        output: file that gets what the trials print.
    """

    def __init__(self, workers: int, output: Path) -> None:
        self.output = output
        self.threads = ThreadPoolExecutor(workers)
        self.running: set[subprocess.Popen[bytes]] = set()
        self.closed = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self.running):
            process.kill()
        self.threads.shutdown(wait=True)

    def submit(self, asked: Mapping[str, Any]) -> Future[Outcome]:
        """Make a trial.

        Args:
            asked: ``run``, ``config``, ``folder``, ``values`` and ``objective``, as ``prerank.tune.trial`` reads them.

        Returns:
            Its outcome; an ``InputError`` where the disk is at fault.
        """
        return self.threads.submit(self._make, asked)

    def _make(self, asked: Mapping[str, Any]) -> Outcome:
        started = time.monotonic()
        with self.output.open("ab") as output:
            # In a session of its own: an interrupt from the keyboard is ours to pass on.
            process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,
            )
        self.running.add(process)
        if self.closed:  # it was started while the others were ended
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # it ended at once; its exit status says so
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        answer = process.stdout.read()
        status = process.wait()
        self.running.discard(process)
        for pipe in (process.stdin, process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()
        if status != 0 or not answer:
            reason = f"its process ended with status {status}; what it printed is in {self.output}"
            return Outcome(time.monotonic() - started, reason=reason)
        told = json.loads(answer)
        if "fault" in told:
            raise InputError(told["fault"])
        return Outcome(**told)
