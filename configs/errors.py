"""The one error that a user is meant to read, and what the machine's own refusals mean to a user."""

from __future__ import annotations

import errno
from collections.abc import Iterator

FULL_DISK = ("No space left on device", "file write failed", "unexpected pos ")
"""What libraries that write through C++ or Rust (DuckDB, torch, safetensors) say when the disk is full."""
NO_MEMORY = (
    "can't allocate memory",
    "Out of Memory Error",
    "std::bad_alloc",
    "size calculation overflowed",
    "array is too big",
)
"""What torch and DuckDB say when the memory does not do."""
NOT_WRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)


class InputError(Exception):
    """Something that the user gave cannot be used.

    The message says what was expected, what was found, where, and what to do. Commands print it without a traceback
    and exit with status 2; anything else that is raised is a defect of ours and keeps its traceback.

    Examples:
        >>> from configs import parse
        >>> parse(["sead=1"])
        Traceback (most recent call last):
        configs.errors.InputError: unknown key 'sead': did you mean 'seed'?; --help lists the keys
    """


def system_fault(error: BaseException, folder: object) -> str | None:
    """What to tell the user if the disk or the memory is full or a folder cannot be written; None otherwise.

    Args:
        error: as raised.
        folder: what was being written, where the error itself names no file.
    """
    for cause in _chain(error):
        code = cause.errno if isinstance(cause, OSError) else None
        file = cause.filename if isinstance(cause, OSError) else None
        if code == errno.ENOSPC or any(sign in str(cause) for sign in FULL_DISK):
            return (
                f"the disk is full ({file or folder}): free space and run the command again; finished stages "
                "are kept and an interrupted one resumes"
            )
        if isinstance(cause, MemoryError) or any(sign in str(cause) for sign in NO_MEMORY):
            reason = " ".join(str(cause).split())[:200] or "MemoryError"
            return (
                f"the memory does not do ({reason}): lower batch sizes, widths or table sizes that you raised, raise "
                "graph.memory_limit_gb if DuckDB says so, or take a machine with more"
            )
        if cause is error and isinstance(cause, OSError) and code in NOT_WRITABLE and file:
            return f"cannot read or write {file}: {cause.strerror}; give runs_folder=... a folder that may be written"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it came from or that were being handled when it was raised."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
