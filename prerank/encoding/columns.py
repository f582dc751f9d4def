"""Which columns of a log the models see, and of which kind: those that the configuration names, else all that fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from configs.console import say, table
from configs.errors import InputError
from configs.schema import FeatureConfig
from graph.logs.contract import family_of
from prerank.encoding.codes import is_code
from prerank.encoding.computed import KEYS as KEYS
from prerank.encoding.computed import OUTCOMES, references_of, require_expression
from prerank.encoding.schema import ITEM_TABLE, SIDES, Column
from prerank.encoding.types import is_list, type_name

Sources = Mapping[str, pa.Schema]
"""Table (items, impressions and, if the log has them, users and queries) → its columns."""

SIDE_SOURCES = {"item": ("items",), "request": ("impressions", "users", "queries"), "pair": ("impressions",)}

ACCEPTED = {
    "id": {"string", "integer", "boolean", "float", "null"},
    "number": {"integer", "float", "decimal", "boolean", "null"},
    "text": {"string", "null"},
    "list": {"list"},
}
"""Families of Arrow types that each kind of feature can be made of."""
ADVICE = {
    "id": "use kind: number for decimals, kind: list for lists, or leave the column out",
    "number": "use kind: id (or text, if it is words), or write the column as a number",
    "text": "use kind: id or number, or write the column as a string",
    "list": "use kind: id or text, or write the column as a list of ids (strings or integers)",
}
LONG_TEXT_WORDS = 3.0
"""A string column with more words than this on average is text, not an id."""
WORDS_SAMPLE = 100_000


def named_columns(features: Sequence[FeatureConfig], sources: Sources) -> tuple[Column, ...]:
    """The columns that ``data.features`` names, checked against the log.

    Raises:
        InputError: for a column that is missing, is an outcome, is named twice, or has a type that the kind cannot be
            made of; and for a shared table that is no feature.
    """
    columns = tuple(_named(feature, sources) for feature in features)
    _require_whole(columns)
    return typed(columns, sources)


def changed_columns(
    columns: tuple[Column, ...], removed: Sequence[str], added: Sequence[FeatureConfig], sources: Sources
) -> tuple[Column, ...]:
    """Features without some and with others.

    Args:
        columns: those that are named or derived.
        removed: names of columns, or ``side:name``; they go first, so that a column may come back as another kind.
        added: columns, checked as those of ``data.features``.
        sources: the columns of each table.

    Raises:
        InputError: for a name that is no feature, and as :func:`named_columns`.
    """
    names = {name for column in columns for name in (column.name, f"{column.side}:{column.name}")}
    for name in removed:
        if name not in names:
            near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
            there = ", ".join(dict.fromkeys(f"{column.side}:{column.name}" for column in columns))
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise InputError(f"data.remove_features names {name!r}, which is no feature{hint} There are: {there}")
    left = [c for c in columns if c.name not in removed and f"{c.side}:{c.name}" not in removed]
    changed = (*left, *(_named(feature, sources) for feature in added))
    _require_whole(changed)
    return typed(changed, sources)


def _require_whole(columns: Sequence[Column]) -> None:
    """Refuse a feature that is named twice, or that shares the table of none."""
    seen: set[tuple[str, str, str]] = set()
    for column in columns:
        if (column.name, column.side, column.kind) in seen:
            raise InputError(
                f"data.features or data.add_features names {column.name} ({column.kind}, {column.side} side) twice"
            )
        seen.add((column.name, column.side, column.kind))
    tables = {column.table for column in columns if column.table == column.name} | {ITEM_TABLE}
    for column in columns:
        if column.kind not in ("number", "text") and column.table not in tables:
            raise InputError(
                f"{column.name} shares the table of {column.table!r}, which is no feature; expected one "
                f"of {', '.join(sorted(tables))}"
            )


def automatic_columns(sources: Sources, tables: Mapping[str, pa.Table], filled: Sequence[str]) -> tuple[Column, ...]:
    """All columns that a log offers: ids, and every attribute of items, users and queries; impressions' extras are not.

    Strings, integers and booleans are ids, decimals are numbers, but for integers that a missing value has turned into
    floats (:mod:`prerank.encoding.codes`); titles and other long strings are text. What is left out is said.

    Args:
        sources: the columns of each table.
        tables: items and, if the log has them, users and queries.
        filled: columns of impressions that hold any value.
    """
    columns = list(_attributes("items", tables["items"], "item"))
    if "user_id" in filled:
        columns.append(_column("user_id", "id", "request", "impressions"))
    columns.append(_column("query", "id", "request", "impressions"))
    if family_of(sources["impressions"].field("query").type) == "string":
        columns.append(_column("query", "text", "request", "impressions"))
    for source in ("users", "queries"):
        for column in _attributes(source, tables[source], "request") if source in tables else ():
            if any((other.name, other.side, other.kind) == (column.name, "request", column.kind) for other in columns):
                say(f"{source}: column {column.name} is no feature: another request column has this name; rename it")
            else:
                columns.append(column)
    if "price" in filled:
        columns.append(_column("price", "number", "pair", "impressions"))
    return typed(columns, sources)


def typed(columns: Sequence[Column], sources: Sources) -> tuple[Column, ...]:
    """The columns with the types that they have in a log; a column that has a type keeps it."""

    def of(column: Column) -> str:
        table = sources.get(column.source)
        in_log = table is not None and column.name in table.names
        return type_name(table.field(column.name).type) if table is not None and in_log else ""

    return tuple(column if column.type else replace(column, type=of(column)) for column in columns)


def require_columns(columns: Sequence[Column], sources: Sources) -> None:
    """Check that another log has the columns of a trained one, in types that their kinds can be made of.

    Raises:
        InputError: naming all columns that it lacks, or the first one of another type.
    """
    lacking = list(dict.fromkeys(each for column in columns for each in _lacking(column, sources)))
    if lacking:
        raise InputError(
            f"the log lacks {len(lacking)} column(s) that the model was trained with: {', '.join(lacking)}; "
            "add them to the log (nulls are allowed), or fit a model without them"
        )
    for column in columns:
        if not column.sql:
            _check_type(column, sources[column.source].field(column.name).type, sources)


def say_columns(columns: Sequence[Column]) -> None:
    """Print the feature list."""
    rows = [
        (
            column.name,
            column.kind,
            "computed" if column.sql else column.source,
            "" if column.table in ("", column.name) else column.table,
        )
        for side in SIDES
        for column in columns
        if column.side == side
    ]
    sides = [column.side for side in SIDES for column in columns if column.side == side]
    table(
        "features (besides the hashed item id)",
        ("column", "side", "kind", "from", "embedding table"),
        [(name, side, *rest) for side, (name, *rest) in zip(sides, rows, strict=True)],
    )


def _named(feature: FeatureConfig, sources: Sources) -> Column:
    name, side, kind = feature.column, feature.side.value, feature.kind.value
    if feature.sql:
        return _computed(feature, sources)
    offered = [source for source in SIDE_SOURCES[side] if source in sources]
    source = next((source for source in offered if name in sources[source].names), None)
    if side != "item" and name in OUTCOMES:
        raise InputError(f"data.features: {name} is an outcome of the impression, not a feature: remove it")
    if name == ITEM_TABLE and side != "request":
        raise InputError("data.features: item_id is always used, hashed, as the item's own id: remove it")
    if source is None:
        raise InputError(_missing(name, side, offered, sources))
    column = _column(name, kind, side, source, feature.table)
    _check_type(column, sources[source].field(name).type, sources)
    return column


def _missing(name: str, side: str, offered: Sequence[str], sources: Sources) -> str:
    """Say that a column is not where it was looked for, and where it is or which one may be meant."""
    message = f"data.features: column {name!r} ({side} side) is not in {', '.join(offered)}"
    elsewhere = [other for other in SIDES if any(name in sources[s].names for s in SIDE_SOURCES[other] if s in sources)]
    if elsewhere:
        return f"{message}; the log has it for side: {' or '.join(elsewhere)}"
    near = difflib.get_close_matches(name, [n for source in offered for n in sources[source].names], n=1, cutoff=0.5)
    available = ", ".join(n for source in offered for n in sources[source].names if n not in OUTCOMES)
    return f"{message}{f': did you mean {near[0]!r}?' if near else ''} It has: {available}"


def _computed(feature: FeatureConfig, sources: Sources) -> Column:
    """A column that the log does not have."""
    source = "items" if feature.side.value == "item" else "impressions"
    tables = {} if source == "items" else {name: schema for name, schema in sources.items() if name != source}
    column = _column(feature.column, feature.kind.value, feature.side.value, source, feature.table)
    column = replace(column, sql=str(feature.sql))
    if not feature.column:
        raise InputError(f"data.add_features: sql={column.sql!r} has no name: give column: NAME")
    kind = require_expression(column, sources[source], tables)
    _check_type(column, kind, sources)
    return replace(column, type=type_name(kind))


def _lacking(column: Column, sources: Sources) -> list[str]:
    """What another log lacks of a column: the column, or what it is computed from."""
    there = sources[column.source].names if column.source in sources else ()
    if not column.sql:
        return [] if column.name in there else [f"{column.name} ({column.source})"]
    missing = [name for name in references_of([column]) if name not in there and name not in sources]
    return [f"{name}, of which {column.name} is computed" for name in missing]


def _check_type(column: Column, kind: pa.DataType, sources: Sources) -> None:
    where = f"{column.source}: column {column.name}"
    if feature_family(kind) not in ACCEPTED[column.kind]:
        raise InputError(
            f"{where} has type {kind}, which cannot be a feature of kind {column.kind} (expected "
            f"{' or '.join(sorted(ACCEPTED[column.kind] - {'null'}))}): {ADVICE[column.kind]}"
        )
    if column.kind != "list":
        return
    values, items = family_of(kind.value_type), family_of(sources["items"].field(ITEM_TABLE).type)
    if values not in ("string", "integer"):
        raise InputError(f"{where} has type {kind}: expected a list of ids (strings or integers)")
    if column.table == ITEM_TABLE and values != items:
        raise InputError(f"{where} holds lists of {values}s, but item_id is of type {items}: write both in one type")


def feature_family(kind: pa.DataType) -> str:
    """The family of an Arrow type; every list type is ``list``."""
    return "list" if is_list(kind) else family_of(kind)


def _column(name: str, kind: str, side: str, source: str, shared: str | None = None) -> Column:
    # Words and ids of one column are different values, so they have different tables; numbers have none.
    own = {"number": "", "text": f"{name}:ngrams"}.get(kind, name)
    return Column(name, kind, side, source, shared or own)


def _attributes(source: str, attributes: pa.Table, side: str) -> Iterator[Column]:
    for field in attributes.schema:
        if field.name == KEYS[source]:
            continue
        values = attributes[field.name]
        kind = _automatic_kind(field, values)
        if values.null_count == len(values):
            say(f"{source}: column {field.name} holds no value and is no feature")
        elif kind is None:
            say(f"{source}: column {field.name} ({field.type}) is no feature: its type is neither id, number nor text")
        elif kind == "number" and is_code(field.name, values):
            say(f"{source}: column {field.name} ({field.type}) holds whole numbers that repeat: ids, as of integers")
            yield replace(_column(field.name, "id", side, source), type="integer")
        else:
            yield _column(field.name, kind, side, source)


def _automatic_kind(field: pa.Field, values: pa.ChunkedArray) -> str | None:
    family = feature_family(field.type)
    if family == "string":
        return "text" if field.name == "title" or _mean_words(values) > LONG_TEXT_WORDS else "id"
    if family == "list":
        return "list" if family_of(field.type.value_type) in ("string", "integer") else None
    return {"integer": "id", "boolean": "id", "float": "number", "decimal": "number"}.get(family)


def _mean_words(values: pa.ChunkedArray) -> float:
    texts = values.slice(0, WORDS_SAMPLE).drop_null().cast(pa.large_string())
    words = pc.mean(pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts)))).as_py()
    return words or 0.0
