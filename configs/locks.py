"""One process at a time writes a folder; who comes second waits, and says for whom."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from configs.console import say

if sys.platform != "win32":
    import fcntl


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Write a folder while no other process does; one that is writing it is waited for. Reading needs no lock.

    The lock is the kernel's, on the file ``.NAME.lock`` beside the folder: it ends with its process, however that ends.
    Where none can be had (a disk that cannot be written, a file system without locks, Windows) the work goes on.
    """
    if sys.platform == "win32":
        yield
        return
    path = folder.with_name(f".{folder.name}.lock")
    try:
        lock = _locked(path, folder)
    except OSError:
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough where a forked child has it open
            lock.close()


def _locked(path: Path, folder: Path) -> TextIO:
    """The lock file, locked, with the name of this process in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = path.open("a+", encoding="utf-8")
        _wait_for(lock, folder)
        if _is_at(path, lock):
            break
        lock.close()  # its last owner has removed it: others would not see that it is locked
    lock.truncate(0)
    print(f"process {os.getpid()} ({_command()}, since {datetime.now():%H:%M})", file=lock, flush=True)
    return lock


def _wait_for(lock: TextIO, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "another process"
        say(f"{folder} is in use by {owner}: waiting for it to end; or interrupt, and give another run=NAME")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _is_at(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _command() -> str:
    """As the user has called this process: ``python -m pretrain.run`` or ``grace pretrain``."""
    if sys.orig_argv[1:2] == ["-m"]:
        return f"python {' '.join(sys.orig_argv[1:3])}"
    program = Path(sys.argv[0]).name
    return f"{program} {sys.argv[1]}" if program == "grace" and sys.argv[1:] else program
