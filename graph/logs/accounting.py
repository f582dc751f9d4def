"""Every row is accounted for: rows read = rows kept + rows rejected + rows said to be left out, at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from configs.console import say
from configs.errors import InputError


@dataclass(frozen=True)
class Account:
    """What became of the rows of one table; ``left_out``: reason → rows."""

    read: int
    kept: int
    rejected: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def require(self, where: str) -> None:
        """The rows read are those kept, rejected and left out, together.

        Raises:
            InputError: if they are not; names the numbers.
        """
        require_equal(self.read, self.kept + self.rejected + sum(self.left_out.values()), f"{where}: {self}")

    def __str__(self) -> str:
        parts = [f"{self.kept:,} kept", f"{self.rejected:,} rejected"]
        parts += [f"{count:,} left out ({reason})" for reason, count in self.left_out.items()]
        return f"{self.read:,} rows read = {' + '.join(parts)}"

    @property
    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def tell(self, what: str) -> None:
        """Print the account in one line."""
        say(f"{what}: {self}")


def require_equal(expected: int, counted: int, where: str) -> None:
    """Two counts of the same rows agree.

    Raises:
        InputError: if they do not: rows were lost or repeated in silence, which is a defect and not the data's fault.
    """
    if expected != counted:
        raise InputError(
            f"{where}: {expected:,} rows were expected and {counted:,} are accounted for. That is a defect of this "
            "program, or the files changed while they were read: run the command again, and report it if it stays"
        )


def rows_in(path: Path) -> int:
    """Rows of a Parquet file, or of all below a folder, by their footers."""
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    return sum(int(pq.read_metadata(file).num_rows) for file in files)
