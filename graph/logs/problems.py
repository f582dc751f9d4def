"""What is wrong with a log, told all at once: one command names everything that has to be mended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from configs.errors import InputError

SHOWN = 20


class Problems:
    """Collects what is wrong with something.

    Args:
        what: that has the problems, for the message.

    Examples:
        >>> problems = Problems("the log")
        >>> problems.add("user_id is missing")
        >>> with problems.collecting():
        ...     raise InputError("clicked has type string")
        >>> problems.raise_any()
        Traceback (most recent call last):
        configs.errors.InputError: 2 problems of the log:
        - user_id is missing
        - clicked has type string
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.told: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.told)

    def add(self, problem: str) -> None:
        """One more problem; one that is known already is not repeated."""
        if problem not in self.told:
            self.told.append(problem)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """What the block raises as an `InputError` becomes a problem."""
        try:
            yield
        except InputError as error:
            self.add(str(error))

    def raise_any(self) -> None:
        """Stop if there are problems.

        Raises:
            InputError: that names them all.
        """
        if len(self.told) == 1:
            raise InputError(self.told[0])
        if self.told:
            more = [f"and {len(self.told) - SHOWN} more"] if len(self.told) > SHOWN else []
            lines = "\n".join(f"- {problem}" for problem in [*self.told[:SHOWN], *more])
            raise InputError(f"{len(self.told)} problems of {self.what}:\n{lines}")
