"""Tuned keys of each system, from a folder as ``python -m prerank.tune`` writes it, and whether terms are equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.plans import load_yaml, mapping, require_known
from configs.stages import read_json
from prerank import systems

SECTIONS = ("model", "prerank")


@dataclass(frozen=True)
class TunedKeys:
    """What tuning gave a system.

    Attributes:
        keys: configuration key → value; empty for a system that was not tuned.
        tuned: whether there is a ``best.yaml``.
        trials: how many were made; ``None`` where nothing says so.
    """

    keys: Mapping[str, Any] = field(default_factory=dict)
    tuned: bool = False
    trials: int | None = None


def read_tuned(folder: str | None, names: Sequence[str]) -> dict[str, TunedKeys]:
    """What ``FOLDER/SYSTEM/best.yaml`` says of each system; a system without one is untuned.

    Raises:
        InputError: if the folder is missing or has none of the systems, or a file holds other than model and prerank
            keys.
    """
    if folder is None:
        return {system: TunedKeys() for system in names}
    root = Path(folder).expanduser()
    tuned = {system: _read(root, system) for system in names}
    if not any(each.tuned for each in tuned.values()):
        raise InputError(f"compare.tuned: {root} has no SYSTEM/best.yaml of {', '.join(names)}")
    return tuned


def tuning_warnings(tuned: Mapping[str, TunedKeys]) -> list[str]:
    """Why the systems were not tuned on equal terms; empty where they were, or where none was tuned."""
    # A system that reads no key has nothing to tune.
    judged = {system: each for system, each in tuned.items() if systems.named(system).KEYS}
    with_file = [system for system, each in judged.items() if each.tuned]
    without = [system for system, each in judged.items() if not each.tuned]
    warnings = []
    if with_file and without:
        warnings.append(
            f"UNEQUAL TERMS: {', '.join(with_file)} tuned, {', '.join(without)} not: a difference between them may be "
            "the tuning's"
        )
    trials = {system: judged[system].trials for system in with_file}
    unknown = [system for system, count in trials.items() if count is None]
    if unknown:
        warnings.append(f"UNKNOWN TERMS: nothing says how many trials {', '.join(unknown)} had")
    if len({count for count in trials.values() if count is not None}) > 1:
        counts = ", ".join(f"{system} {count}" for system, count in trials.items())
        warnings.append(f"UNEQUAL TERMS: other numbers of trials ({counts}): more trials find better keys by chance")
    return warnings


def tuning_words(tuned: TunedKeys) -> str:
    """For a table's cell."""
    if not tuned.tuned:
        return "untuned"
    return "tuned, trials unknown" if tuned.trials is None else f"tuned, {tuned.trials} trials"


def _read(folder: Path, system: str) -> TunedKeys:
    path = folder / system / "best.yaml"
    if not path.exists():
        return TunedKeys()
    sections = mapping(load_yaml(path, "compare.tuned"), path)
    for section in sections:
        require_known(section, SECTIONS, path)
    keys = dict(_leaves(sections, ""))
    named = keys.pop("model.name", keys.pop("model", system))
    if named != system:
        raise InputError(f"{path} is of model={named}, found in the folder of {system}")
    return TunedKeys(keys, True, _trials(folder, system))


def _leaves(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _trials(folder: Path, system: str) -> int | None:
    """How many there were: those of the search's own ``tune.json``, or a number in the folder's ``trials.json``."""
    search, numbers = folder / system / "tune.json", folder / "trials.json"
    if search.exists():
        return len(read_json(search)["trials"])
    count = read_json(numbers).get(system) if numbers.exists() else None
    return count if isinstance(count, int) else None
