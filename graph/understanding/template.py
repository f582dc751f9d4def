"""A suggested mapping as a commented YAML file that ``--config`` takes, and as keys of ``data.table``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from graph.logs.database import name
from graph.understanding.names import is_outcome
from graph.understanding.suggest import Mapped, Suggestion

KINDS = ("impression", "click", "cart", "order")
HEAD = """\
# How to read {path}, as `python -m graph.check` understands it: look through it and mend what is wrong.
#
#   python -m graph.check --config {file}                 what becomes of the log, with ten rows and advice
#   python -m pretrain.run --config {file} run=mine       from the log to psi
#
# columns: name in the log: source column, or an SQL expression of source columns. Columns that are not named here keep
# their own names; `leave` names those that are not taken over. `where: CONDITION` takes some rows only.
"""


def keys_of(suggestions: Sequence[Suggestion], path: str) -> dict[str, Any]:
    """The suggestions as the section ``data``."""
    return {"name": "table", "path": path, "table": {s.table: _source(s) for s in suggestions}}


def write(suggestions: Sequence[Suggestion], path: str, file: str) -> str:
    """The text of the YAML file called ``file``."""
    lines = [*HEAD.format(path=_comment(path), file=_comment(file)).splitlines(), "data:", "  name: table"]
    lines += [f"  path: {_scalar(path)}", "  table:"]
    for suggestion in suggestions:
        lines += [f"    {suggestion.table}:", *(f"      {line}" for line in _lines(suggestion))]
    return "\n".join(lines) + "\n"


def cutoffs(lower: Sequence[int]) -> str:
    """What is added to the section ``data`` for lists that are too short for ``data.cutoffs`` as they stand."""
    return f"  cutoffs: {list(lower)}  # k of 'is in the ranking model's first k', below the longest list\n"


def plain(mapped: Mapped) -> str:
    """A column's expression as a person would write it: its bare name where it is nothing more."""
    return mapped.source if mapped.source and mapped.sql in (mapped.source, name(mapped.source)) else mapped.sql


def kept(suggestion: Suggestion) -> list[str]:
    """The source columns that keep their own names."""
    used = {mapped.source for mapped in suggestion.columns.values()} | set(suggestion.leave) | set(suggestion.unnest)
    return [column.name for column in suggestion.sample.columns if column.name not in used and not column.path]


def _source(suggestion: Suggestion) -> dict[str, Any]:
    content: dict[str, Any] = {"files": list(suggestion.sample.files)} if suggestion.sample.files else {}
    content |= {"options": dict(suggestion.sample.options)} if suggestion.sample.options else {}
    content["columns"] = {role: plain(mapped) for role, mapped in suggestion.columns.items()}
    content |= {"unnest": list(suggestion.unnest)} if suggestion.unnest else {}
    content |= {"separator": suggestion.separator} if suggestion.separator else {}
    content |= {"where": suggestion.where} if suggestion.where else {}
    if suggestion.table == "events":
        content["kinds"] = {kind: list(suggestion.kinds.get(kind, ())) for kind in KINDS}
    content |= {"leave": list(suggestion.leave)} if suggestion.leave else {}
    return content


def _lines(suggestion: Suggestion) -> Iterator[str]:
    """The lines of one table's section."""
    content = _source(suggestion)
    yield f"# {_comment(suggestion.sample.name)}{': ' * bool(suggestion.sample.format)}{suggestion.sample.format}"
    for key, value in content.items():
        if key == "columns":
            yield "columns:"
            entries = [(f"  {role}: {_scalar(plain(m))}", m.why) for role, m in suggestion.columns.items()]
            width = min(max(len(line) for line, _ in entries), 60)
            yield from (f"{line:{width}}  # {_comment(why)}" for line, why in entries)
            outcomes = [column for column in kept(suggestion) if is_outcome(column)]
            others = [column for column in kept(suggestion) if column not in outcomes]
            if others:
                yield f"  # kept under their own names: {_comment(', '.join(others))}"
            if outcomes:
                yield f"  # kept too; outcomes by their names, so no features: {_comment(', '.join(outcomes))}"
        elif isinstance(value, dict):
            yield f"{key}:"
            yield from (f"  {_scalar(each)}: {_flow(of_key)}" for each, of_key in value.items())
        else:
            yield f"{key}: {_flow(value)}"
        if key == "leave":
            yield from (f"  # {_comment(column)}: {why}" for column, why in suggestion.leave.items())
    if suggestion.table == "events":
        yield "window_minutes: 30  # an event without request_id belongs to the latest request that showed its item"


def _flow(value: Any) -> str:
    return f"[{', '.join(map(_scalar, value))}]" if isinstance(value, list) else _scalar(value)


def _scalar(value: object) -> str:
    """A value as YAML reads it back: text in quotes where YAML could take it for anything else."""
    if not isinstance(value, str):
        return json.dumps(value)
    # OmegaConf would expand ${...}: a backslash keeps it, and one before it is doubled.
    value = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value) and isinstance(yaml.safe_load(value), str):
        return value
    if value.isprintable() and "'" in value and '"' not in value and "\\" not in value:
        return f'"{value}"'
    return "'" + value.replace("'", "''") + "'" if value.isprintable() else json.dumps(value)


def _comment(value: str) -> str:
    return " ".join(value.split())
