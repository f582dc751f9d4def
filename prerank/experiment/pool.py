"""Tasks in processes of their own, some at a time, none of which outlives the command.

A library would be less code, and none does what an experiment needs: the executors of ``concurrent.futures`` and loky
give up every task when one process dies, and what ``multiprocessing`` spawns imports the caller's script again, without
a way to set the environment before.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

COMMAND = (sys.executable, "-m", "prerank.experiment.worker")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
"""One core each: the libraries read these when they are loaded. A device shared by all would be slower, and not the
same device everywhere."""

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Task(Generic[Subject]):
    """What one process does.

    Attributes:
        subject: what it is about, for who hears the answers.
        function: ``module:function``; what it returns or yields are the task's answers, each strict JSON.
        arguments: of the function, by name; JSON.
        output: file that gets what the function prints, after what is there.
    """

    subject: Subject
    function: str
    arguments: Mapping[str, Any]
    output: Path


@dataclass(frozen=True)
class Answer(Generic[Subject]):
    """One answer of a task's function, or why there are no more of them.

    Attributes:
        subject: of the task.
        content: what the function answered.
        error: what it raised, or how its process ended before it was done; then the task has no other answer.
    """

    subject: Subject
    content: Any = None
    error: str | None = None


Hear = Callable[[Answer[Subject]], None]


def carry_out(tasks: Iterable[Task[Subject]], processes: int, hear: Hear[Subject]) -> None:
    """Carry out tasks in order, each in a process of its own with one thread.

    An exception, or an interrupt from the keyboard, ends all processes that still run.

    Args:
        tasks: one is taken whenever a process is free, so that it may depend on answers that were heard before.
        processes: at a time.
        hear: is given every answer as it comes.
    """
    waiting = iter(tasks)
    running: set[_Process[Subject]] = set()
    with selectors.DefaultSelector() as selector:
        try:
            while True:
                while len(running) < processes and (task := next(waiting, None)) is not None:
                    process = _Process(task)
                    running.add(process)
                    selector.register(process.answers, selectors.EVENT_READ, process)
                if not running:
                    return
                for key, _ in selector.select():
                    process = key.data
                    part = os.read(key.fd, 65536)
                    if not part:
                        selector.unregister(key.fileobj)
                        running.remove(process)
                    for answer in process.read(part) if part else process.end():
                        hear(answer)
        finally:
            for process in running:
                process.stop()


class _Process(Generic[Subject]):
    """A process that carries out a task; its end of the pipes is in :mod:`prerank.experiment.worker`."""

    def __init__(self, task: Task[Subject]) -> None:
        self.subject = task.subject
        self.line = b""
        self.over = False
        task.output.parent.mkdir(parents=True, exist_ok=True)
        with task.output.open("ab") as output:
            # In a session of its own: an interrupt from the keyboard is ours to pass on.
            self.process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.input, self.answers = self.process.stdin, self.process.stdout
        message = json.dumps({"function": task.function, "arguments": task.arguments})
        with suppress(BrokenPipeError):  # it ended at once; its exit status and its output say why
            self.input.write(message.encode() + b"\n")
            self.input.flush()

    def read(self, part: bytes) -> Iterator[Answer[Subject]]:
        """The answers whose lines end in a part of what it writes."""
        *lines, self.line = (self.line + part).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self.over = "content" not in message
            if "done" not in message:
                yield Answer(self.subject, **message)

    def end(self) -> Iterator[Answer[Subject]]:
        """What is to be said when it has ended."""
        status = self.process.wait()
        self.stop()
        if not self.over:
            yield Answer(self.subject, error=f"its process ended with status {status} before it was done")

    def stop(self) -> None:
        """End it, whatever it is doing: stages are written to be killed at any step."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.input, self.answers):
            with suppress(BrokenPipeError):
                pipe.close()
