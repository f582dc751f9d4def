"""Which values a key takes beyond its type: stated beside the key, refused before any work is done."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from configs.errors import InputError

if TYPE_CHECKING:
    from configs.schema import Config

LARGEST_SEED = 2**32 - 1
"""What NumPy and Lightning take."""
LARGEST_NUMBER = 2**63 - 1
"""What arrays and tensors count with."""
LARGEST_REAL = 1e30
"""Larger ones cannot be written in 32 bits, or not after a product or two."""
LONGEST_NAME = 200
"""Bytes of a folder's name, of the 255 that file systems take: ours add to it."""
LARGEST_PORT = 2**16 - 1


@dataclass(frozen=True)
class Limit:
    """What a key's value must be.

    Attributes:
        text: as in "must be ...".
        holds: of a value; of a list, of each entry unless ``whole``.
    """

    text: str
    holds: Callable[[Any], bool]
    whole: bool = False

    def check(self, name: str, value: Any) -> None:
        """Refuse another value.

        Raises:
            InputError: naming the key, the limit and the value.
        """
        each = value if isinstance(value, list) and not self.whole else [value]
        if not all(self.holds(entry) for entry in each):
            raise InputError(f"{name} must be {self.text}, found {value}")


def limits(
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    between: tuple[float, float] | None = None,
    share: bool = False,
    ascending: bool = False,
    choices: Sequence[str] = (),
) -> tuple[Limit, ...]:
    """What the limits of a key say.

    Args:
        above: the value is larger.
        at_least, at_most: the smallest and the largest value.
        between: both, included.
        share: above 0 and below 1.
        ascending: a list, not empty, of ascending numbers from 1.
        choices: the only values.
    """
    stated = []
    if above is not None:
        stated.append(Limit(f"above {above}", lambda value: value > above))
    if at_least is not None:
        stated.append(Limit(f"at least {at_least}", lambda value: value >= at_least))
    if at_most is not None:
        stated.append(Limit(f"at most {at_most}", lambda value: value <= at_most))
    if between is not None:
        low, high = between
        stated.append(Limit(f"from {low} to {high}", lambda value: low <= value <= high))
    if share:
        stated.append(Limit("above 0 and below 1", lambda value: 0 < value < 1))
    if ascending:
        stated.append(Limit("ascending and at least 1", _ascends, whole=True))
    if choices:
        stated.append(Limit(" or ".join(choices), lambda value: value in choices))
    return tuple(stated)


def _ascends(values: Sequence[int]) -> bool:
    return bool(values) and values[0] >= 1 and all(low < high for low, high in pairwise(values))


def check_section(section: Any, prefix: str = "") -> None:
    """Refuse values of a section that its keys do not take.

    Args:
        section: of a class whose fields :func:`configs.schema.key` made, with sections of its own or without.
        prefix: of its keys in messages.

    Raises:
        InputError: naming the key, the range and the value.
    """
    for entry in fields(section):
        name, value = f"{prefix}{entry.name}", getattr(section, entry.name)
        if is_dataclass(value):
            check_section(value, f"{name}.")
            continue
        for each in value if isinstance(value, list) else [value]:
            _check_plain(name, each, within=value)
        for limit in entry.metadata["limits"]:
            limit.check(name, value)


def _check_plain(name: str, each: Any, within: Any) -> None:
    """Refuse what no key takes, whatever its range."""
    if isinstance(each, float) and not math.isfinite(each):
        raise InputError(f"{name} must be a finite number, found {each}")
    if isinstance(each, float) and abs(each) > LARGEST_REAL:
        raise InputError(f"{name} must be at most {LARGEST_REAL}, found {each}")
    if isinstance(each, int) and abs(each) > LARGEST_NUMBER:
        raise InputError(f"{name} must be at most {LARGEST_NUMBER}, found a number of {each.bit_length()} bits")
    if isinstance(each, str) and not _is_text(each):
        raise InputError(f"{name} must be text, without NUL or half a Unicode pair, found {each!r}")
    if isinstance(within, list) and (each is None or isinstance(each, list | dict)):
        raise InputError(f"{name} must be a list of plain values, found {within}")


def _is_text(value: str) -> bool:
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def require_folder_name(run: str) -> None:
    """Refuse a run that cannot be a folder.

    Raises:
        InputError: if it is a path, no text, or longer than what file systems take.
    """
    plain = run not in ("", ".", "..") and not any(c in run for c in "/\\") and _is_text(run)
    if not plain or len(os.fsencode(run)) > LONGEST_NAME:
        found = repr(run) if len(run) <= LONGEST_NAME else f"{run[:40]!r}… of {len(run):,} characters"
        raise InputError(f"run must be a plain folder name of at most {LONGEST_NAME} bytes, found {found}")


def check_ranges(config: Config) -> None:
    """Refuse what no stage could work with.

    Raises:
        InputError: naming the key, the range and the value.
    """
    require_folder_name(config.run)
    check_section(config)
    if not config.pretrain.fan_out:
        raise InputError("pretrain.fan_out needs one number a layer, found []")
    graph = config.graph
    if graph.weight_click == graph.weight_order == graph.weight_touch == 0:
        raise InputError("graph.weight_click, weight_order and weight_touch are all 0: no event would make an edge")
    shares = config.data.split.shares
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"data.split.shares must be three shares above 0 that sum to 1, found {list(shares)}")
    weights = config.model.rank.k_weights
    if weights and len(weights) != len(config.data.cutoffs):
        raise InputError(
            f"model.rank.k_weights needs one weight for each of data.cutoffs {list(config.data.cutoffs)}, "
            f"found {list(weights)}"
        )
