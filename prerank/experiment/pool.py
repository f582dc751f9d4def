"""Jobs in processes of their own, some at a time, none of which outlives the command."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from prerank.experiment.jobs import Fit, Job

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
"""One core each: the libraries read these when they are loaded. A device shared by all would be slower, and not the
same device everywhere."""

Answer = Callable[[Fit, Mapping[str, Any]], None]


@dataclass
class Worker:
    """A process that does a job.

    Attributes:
        answered: fits that it has told of.
        partial: the start of a line that has not ended yet.
    """

    job: Job
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    answered: int = 0
    partial: bytes = b""

    @classmethod
    def start(cls, job: Job) -> Worker:
        """Start the process, in a session of its own: an interrupt from the keyboard is ours to pass on."""
        job.output.parent.mkdir(parents=True, exist_ok=True)
        output = job.output.open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "prerank.experiment.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(job.message().encode())
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended at once; its exit status and its output say why
        return cls(job, process, output)

    def stop(self) -> None:
        """End the process, whatever it is doing: the stages are written to be killed at any step."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.output):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue


def carry_out(jobs: Sequence[Job], workers: int, told: Answer) -> None:
    """Do the jobs in order, ``workers`` at a time.

    Args:
        jobs: their waiting fits are done.
        workers: processes at a time.
        told: is given each fit with ``{"seconds": ...}`` or ``{"error": ...}``, as they end.
    """
    waiting = list(jobs)
    running: dict[int, Worker] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    worker = Worker.start(waiting.pop(0))
                    assert worker.process.stdout is not None
                    running[worker.process.stdout.fileno()] = worker
                    selector.register(worker.process.stdout, selectors.EVENT_READ)
                for key, _ in selector.select():
                    read = os.read(key.fd, 65536)
                    if read:
                        _hear(running[key.fd], read, told)
                    else:
                        selector.unregister(key.fileobj)
                        _end(running.pop(key.fd), told)
        finally:
            for worker in running.values():
                worker.stop()


def end_with_parent() -> None:
    """In a worker: end as soon as the other end of the input is closed, however the process that holds it ended."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def read_line(expected: str) -> bytes:
    """In a worker: the first line of the input, unbuffered, so that :func:`end_with_parent` sees its end.

    Args:
        expected: what to say if the input ends before.
    """
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 65536)
        if not part:
            sys.exit(expected)
        line += part
    return line


def _hear(worker: Worker, read: bytes, told: Answer) -> None:
    *lines, worker.partial = (worker.partial + read).split(b"\n")
    for line in lines:
        answer = json.loads(line)
        worker.answered += 1
        told(worker.job.waiting[answer["fit"]], answer)


def _end(worker: Worker, told: Answer) -> None:
    """Fits that the process did not come to, because it was killed or broke down, have failed."""
    status = worker.process.wait()
    worker.stop()
    for fit in worker.job.waiting[worker.answered :]:
        told(fit, {"error": f"its process ended with status {status} before it was done"})
