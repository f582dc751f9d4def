"""The mapping that is suggested for tables nobody has described: which table and which column is what, and why.

Pure: it sees the first rows of each table (:class:`Sample`) and answers with :class:`Suggestion`, of which
``graph.understanding.template`` writes the YAML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from graph.logs.contract import RESERVED, STAGES
from graph.logs.database import text
from graph.understanding.names import LIKELY, POSSIBLE, event_of, is_outcome, name_score, table_of
from graph.understanding.values import (
    ENOUGH,
    Column,
    Reading,
    as_flag,
    as_id,
    as_number,
    as_rank,
    as_time,
    parts_of,
    path_separator,
    separator_of,
)

TABLES = ("impressions", "events", "items", "users", "queries")
KEYS = {"items": "item_id", "users": "user_id", "queries": "query"}
ROLES = {
    "impressions": (
        *("request_id", "session_id", "user_id", "query", "item_id", "timestamp", "position", "clicked", "ordered"),
        *("carted", "price", "rank_score", "stage", "propensity"),
    ),
    "events": ("event", "request_id", "session_id", "user_id", "query", "item_id", "timestamp", "position", "price"),
    "items": ("item_id", "title", "category", "brand", "shop", "price", "listed_at"),
    "users": ("user_id",),
    "queries": ("query",),
}
"""What each table's columns can be."""
FALLBACKS = ("destination", "filters", "filter", "category", "kategorie", "city", "ort", "location", "page")
"""Words of a column that stands in for the query where nothing is called one: what the shopper asked for."""
NAMED_OUTRIGHT = ("rank_score", "propensity", "stage", "shop", "listed_at", "clicked", "ordered", "carted")
"""Roles that a word within a longer name does not tell: click_position is no click."""
FEWEST = 0.5
"""Share of the rows in which a stand-in must hold a value."""
BY_VALUES = 0.3
"""How sure values alone make of a role that no name tells."""
FEWEST_ROWS = 100
"""Rows below which a column of distinct values proves nothing."""
LEVELS, FEWEST_AT_LEVEL = 3, 0.2
"""Levels of a category path at most, and share of the rows that must have one."""
MOST_KINDS = 50
"""Distinct values of a column that names events."""


@dataclass(frozen=True)
class Sample:
    """The first rows of a table as it lies.

    Attributes:
        name: to tell it by: the file's stem or the table's name.
        files: as the mapping is to name them.
        columns: in the source's order.
        format: of the files, in words.
        view: DuckDB's view of all of its rows, where they are loaded.
    """

    name: str
    files: tuple[str, ...]
    columns: tuple[Column, ...]
    format: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    view: str = ""

    @property
    def rows(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Mapped:
    """A column of the log: how it is read, and why; ``source`` is empty where it comes from no column or several."""

    sql: str
    why: str
    source: str = ""


@dataclass(frozen=True)
class Suggestion:
    """The suggested mapping of one table."""

    table: str
    sample: Sample
    columns: Mapping[str, Mapped]
    unnest: tuple[str, ...] = ()
    separator: str | None = None
    where: str | None = None
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leave: Mapping[str, str] = field(default_factory=dict)


def suggest(samples: Sequence[Sample]) -> tuple[list[Suggestion], list[str], list[str]]:
    """The mapping of each table that has a part in the log.

    Returns:
        The mapping; what stands in its way, in words; and which samples are not used, in words.
    """
    chosen: dict[str, Sample] = {}
    problems, unused = [], []
    for sample in samples:
        kind = kind_of(sample)
        if kind is None:
            unused.append(f"{sample.name}: cannot be told what a row is ({_names(sample)}); it is not used")
        elif kind in chosen:
            unused.append(
                f"{sample.name}: looks like {kind} as {chosen[kind].name} does; only {chosen[kind].name} is used"
            )
        else:
            chosen[kind] = sample
    makers = {"impressions": _impressions, "events": _events if "impressions" in chosen else _events_alone}
    mapped = [_tidied(makers.get(kind, _attributes)(chosen[kind], kind)) for kind in TABLES if kind in chosen]
    if not {"impressions", "events"} & set(chosen):
        problems.append(
            "no table of impressions (what was shown, with request, item and time) nor of events was recognised"
        )
    return mapped, problems + [problem for s in mapped for problem in lacking(s, mapped)], unused


def kind_of(sample: Sample) -> str | None:
    """Which table of the log a sample is; None where its rows are nothing that is known."""
    has = {role: best(sample, role) is not None for role in (*ROLES["impressions"], "event", "items")}
    named, event = table_of(sample.name), event_of(sample.name)
    when = has["timestamp"] and any(has[role] for role in ("request_id", "session_id", "user_id", "query"))
    if when and nested_lists(sample):
        return "impressions"
    if has["event"] and has["item_id"]:
        return "events"
    if has["item_id"] and when and event in ("click", "cart", "order") and not has["clicked"]:
        return "events"
    if has["item_id"] and (has["clicked"] or has["position"] or when) and not (named == "items" and not when):
        return "impressions"
    for table, key in KEYS.items():
        if has[key] and (named == table or _unique(sample, key)):
            return table
    return None


def best(sample: Sample, role: str) -> tuple[float, Column, Reading] | None:
    """The column that has a role most surely, if any."""
    scored = [found for column in sample.columns if (found := score(column, role)) is not None]
    return max(scored, key=lambda found: found[0], default=None)


@cache
def score(column: Column, role: str) -> tuple[float, Column, Reading] | None:
    """How surely a column has a role, by its name and its values together; None where it cannot have it."""
    by_name = name_score(column.name, role)
    if role in NAMED_OUTRIGHT and by_name < LIKELY:
        return None
    reading = READINGS[role](column)
    if reading is None or (by_name == 0 and role not in VALUES_TELL):
        return None
    if by_name == 0:
        return (BY_VALUES, column, reading) if VALUES_TELL[role](column) else None
    return by_name, column, reading


def assigned(sample: Sample, roles: Sequence[str]) -> dict[str, Mapped]:
    """Each role's column: the surest pair first, a column has one role and a role one column."""
    pairs = [(role, found) for role in roles for c in sample.columns if (found := score(c, role)) is not None]
    columns: dict[str, Mapped] = {}
    taken: set[str] = set()
    for role, (surely, column, reading) in sorted(pairs, key=lambda pair: -pair[1][0]):
        if role not in columns and column.name not in taken:
            by = "by values" if surely == BY_VALUES else "by name" if surely >= LIKELY else "by a word of its name"
            columns[role] = Mapped(reading.sql, f"{by}: {reading.why}" if reading.why else by, column.name)
            taken.add(column.name)
    return {role: columns[role] for role in roles if role in columns}


def nested_lists(sample: Sample) -> list[Column]:
    """List columns that are parallel to the items' list, that one first; empty where rows are no requests."""
    surely = best(sample, "items")
    # A list that only its values tell may be of tags: where a column names an item, rows are no requests.
    if surely is None or (surely[0] < LIKELY and best(sample, "item_id") is not None):
        return []
    items = surely[1]
    lengths = [len(parts) for parts in parts_of(items, separator_of(items) or "")]
    parallel = [items]
    for column in sample.columns:
        separator = separator_of(column) if column.name != items.name else None
        if separator is None or separator != separator_of(items):
            continue
        same = [len(parts) == n for parts, n in zip(parts_of(column, separator), lengths, strict=True) if n]
        if same and sum(same) / len(same) >= ENOUGH:
            parallel.append(column)
    return parallel


def lacking(suggestion: Suggestion, every: Sequence[Suggestion]) -> Iterable[str]:
    """What a table of impressions or events must have and has not, in words."""
    where, columns = suggestion.sample.name, suggestion.columns
    if suggestion.table not in ("impressions", "events"):
        return
    for role, what in (("item_id", "names the item"), ("timestamp", "holds a time that can be read")):
        if role not in columns:
            yield f"{where}: no column {what}: map {role} by hand; it has {_names(suggestion.sample)}"
    others = {other.table: other for other in every}
    clicks = "clicked" in columns or others.get("events", suggestion).kinds.get("click")
    if suggestion.table == "impressions" and not clicks:
        yield (
            f"{where}: no column says what was clicked: map clicked by hand, or add a table of events; it has "
            f"{_names(suggestion.sample)}"
        )
    if suggestion.table == "events" and "impressions" not in others and not suggestion.kinds.get("impression"):
        yield (
            f"{where}: events alone, and none of them says what was shown (impressions or views): the items that were "
            "not clicked are unknown, and nothing can be learnt without them"
        )


def _impressions(sample: Sample, table: str) -> Suggestion:
    lists = nested_lists(sample)
    columns = assigned(sample, ROLES[table])
    suggestion = Suggestion(table, sample, columns)
    if lists:
        suggestion = _nested(suggestion, lists)
    columns = _stand_ins(suggestion.columns, sample, bool(lists))
    order = {role: number for number, role in enumerate(ROLES[table])}
    columns = dict(sorted(columns.items(), key=lambda pair: order[pair[0]]))
    return replace(suggestion, columns=columns, leave=_clashing(sample, columns))


def _nested(suggestion: Suggestion, lists: Sequence[Column]) -> Suggestion:
    """A row for each request with its items as lists."""
    sample, items = suggestion.sample, lists[0]
    named = {column.name for column in lists}
    columns = {role: m for role, m in suggestion.columns.items() if m.source not in named and role != "item_id"}
    columns["item_id"] = Mapped(items.sql, "by name: each entry of the list", items.name)
    columns["position"] = Mapped("ordinal", "the entry's place in the list")
    price = next((c for c in lists[1:] if name_score(c.name, "prices") or name_score(c.name, "price")), None)
    if price is not None:
        columns["price"] = Mapped(f"TRY_CAST({price.sql} AS DOUBLE)", "by name: each entry of the list", price.name)
    clicked = _clicked_of_list(sample, items)
    if clicked is not None:
        columns["clicked"] = clicked
    return replace(
        suggestion,
        columns=columns,
        unnest=tuple(column.name for column in lists),
        separator=separator_of(items) or None,
        where=_rows_with_lists(sample, items),
    )


def _clicked_of_list(sample: Sample, items: Column) -> Mapped | None:
    """What was clicked of a list: a list of its own, or the one value that is nearly always among the items."""
    shown = parts_of(items, separator_of(items) or "")
    clicks = best(sample, "clicked_items")
    if clicks is not None:
        chosen, separator = clicks[1], separator_of(clicks[1])
        listed = f"string_split({chosen.sql}, {text(separator)})" if separator else chosen.sql
        sql = f"coalesce(list_contains({listed}, {items.sql}), false)"
        return Mapped(sql, "by name: the entry is among those clicked", chosen.name)
    shares: dict[str, float] = {}
    for column in sample.columns:
        pairs = [(value, parts) for value, parts in zip(column.values, shown, strict=True) if parts]
        if column.name != items.name and pairs and len(column.counts) > 1:
            shares[column.name] = sum(value in parts for value, parts in pairs) / len(pairs)
    name = max(shares, key=lambda name: shares[name], default=None)
    if name is None or shares[name] < POSSIBLE:
        return None
    sql = f"coalesce({sample.column(name).as_text} = CAST({items.sql} AS VARCHAR), false)"
    return Mapped(sql, f"by values: it is in the list in {shares[name]:.0%} of the rows", name)


def _rows_with_lists(sample: Sample, items: Column) -> str | None:
    """The condition that leaves out the rows without a list."""
    if items.filled == len(items.values):
        return None
    event = best(sample, "event")
    holding = [bool(value) for value in items.values]
    if event is not None:
        kinds = Counter(v for v, holds in zip(event[1].values, holding, strict=True) if v is not None and holds)
        if len(kinds) == 1:
            return f"{event[1].sql} = {text(next(iter(kinds)))}"
    return f"{items.sql} IS NOT NULL"


def _stand_ins(columns: Mapping[str, Mapped], sample: Sample, nested: bool) -> dict[str, Mapped]:
    """The columns with what stands in for a user, a query and a request that the log does not have."""
    columns = dict(columns)
    if "user_id" not in columns and "session_id" in columns:
        columns["user_id"] = Mapped(columns["session_id"].sql, "no user: the session stands in", "")
    if "query" not in columns:
        used = {mapped.source for mapped in columns.values()}
        free = [c for c in sample.columns if c.name not in used and as_id(c) is not None]
        if "request_id" in columns and not nested:
            free = [c for c in free if _one_a_request(sample, columns["request_id"], c)]
        near = [c for word in FALLBACKS for c in free if word in c.name.lower() and c.filled >= FEWEST * len(c.values)]
        columns["query"] = (
            Mapped(f"coalesce({near[0].as_text}, '')", "no query: stands in, as what was asked for", near[0].name)
            if near
            else Mapped("''", "no query: every request has the empty one")
        )
    if "request_id" not in columns and "timestamp" in columns:
        who = [columns[role].sql for role in ("user_id", "session_id") if role in columns]
        if columns["query"].source and not nested:
            who.append(columns["query"].sql)
        step = next((c.sql for c in sample.columns if c.name.lower() in ("step", "page", "page_number")), None)
        parts = [*dict.fromkeys(who), *([step] if step and nested else []), columns["timestamp"].sql]
        columns["request_id"] = Mapped(
            f"concat_ws('/', {', '.join(parts)})", "no request id: rows of one user, query and moment are one request"
        )
    if "user_id" not in columns and "request_id" in columns:
        columns["user_id"] = Mapped(columns["request_id"].sql, "no user and no session: the request stands in")
    return columns


def _one_a_request(sample: Sample, request: Mapped, column: Column) -> bool:
    """Whether the rows of a request nearly always agree on a column."""
    by = next((c for c in sample.columns if c.name == request.source or c.sql == request.sql), None)
    if by is None:
        return False
    pairs = {(key, value) for key, value in zip(by.values, column.values, strict=True) if key is not None}
    return len({key for key, _ in pairs}) >= ENOUGH * len(pairs)


def _events(sample: Sample, table: str) -> Suggestion:
    columns = assigned(sample, ROLES[table])
    kinds: dict[str, tuple[str, ...]] = {}
    if "event" in columns:
        kinds = kinds_of(sample.column(columns["event"].source).counts)
    else:
        kind = event_of(sample.name) or "click"
        columns = {"event": Mapped(text(kind), f"by the file's name: every row is one ({kind})"), **columns}
        kinds = {kind: (kind,)}
    return Suggestion(table, sample, columns, kinds=kinds, leave=_clashing(sample, columns))


def _events_alone(sample: Sample, table: str) -> Suggestion:
    """Events that are the impressions too: what was seen, and what of it was clicked, or put into the cart."""
    suggestion = _events(sample, table)
    columns, kinds = dict(suggestion.columns), dict(suggestion.kinds)
    if "request_id" not in columns and "timestamp" in columns:
        who = next((columns[role].sql for role in ("session_id", "user_id") if role in columns), None)
        if who is not None:
            day = f"strftime({columns['timestamp'].sql}, '%Y-%m-%d')"
            sql = who if "session_id" in columns else f"concat_ws('/', {who}, {day})"
            unit = "session" if "session_id" in columns else "user and day"
            columns["request_id"] = Mapped(sql, f"no request id: what one {unit} saw is one request")
    stronger = next((kind for kind in ("cart", "order") if kind in kinds), None)
    if "click" not in kinds and stronger is not None:
        kinds["click"] = kinds.pop(stronger)
    columns = _stand_ins(columns, sample, False)
    return replace(suggestion, columns=columns, kinds=kinds, leave=_clashing(sample, columns))


def kinds_of(values: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The values of an event column by what they stand for; a view is an impression where nothing else is shown.

    Where impressions are logged and clicks are not, a view (of the item's page) is the click.
    """
    kinds: dict[str, list[str]] = {}
    for value in values:
        event = event_of(value)
        if event is not None:
            kinds.setdefault(event, []).append(value)
    views = kinds.pop("view", [])
    if views and "impression" not in kinds:
        kinds["impression"] = views
    elif views and "click" not in kinds:
        kinds["click"] = views
    return {kind: tuple(sorted(kinds[kind])) for kind in ("impression", "click", "cart", "order") if kind in kinds}


def _attributes(sample: Sample, table: str) -> Suggestion:
    columns = assigned(sample, ROLES[table])
    leave = _clashing(sample, columns)
    used = {mapped.source for mapped in columns.values()}
    if table == "items" and "category" in columns:
        columns = with_levels(columns, sample.column(columns["category"].source))
    for column in sample.columns:
        if column.name in used or column.name in leave:
            continue
        if column.filled >= FEWEST_ROWS and len(column.counts) >= ENOUGH * column.filled and _is_name(column):
            leave[column.name] = "nearly every row has its own value: nothing can be learnt from it"
    return Suggestion(table, sample, columns, leave=leave)


def with_levels(columns: dict[str, Mapped], category: Column) -> dict[str, Mapped]:
    """A category path as its levels: the whole path is no text, and its top is shared by many items."""
    separator = path_separator(category)
    if separator is None:
        return columns
    columns = dict(columns)
    for level in range(1, LEVELS + 1):
        if category.share(partial(_has_level, separator, level)) >= FEWEST_AT_LEVEL:
            sql = f"nullif(trim(split_part({category.sql}, {text(separator)}, {level})), '')"
            why = f"by name and values: level {level} of a path parted by {separator.strip()!r}"
            columns["category" if level == 1 else f"category_{level}"] = Mapped(sql, why, category.name)
    order = {column: number for number, column in enumerate(ROLES["items"])}
    return dict(
        sorted(columns.items(), key=lambda pair: order[pair[0].split("_")[0] if "category" in pair[0] else pair[0]])
    )


def _has_level(separator: str, level: int, value: str) -> bool:
    return value.count(separator) >= level - 1


def _tidied(suggestion: Suggestion) -> Suggestion:
    """Without the source columns that an expression or the fields of a struct took the place of."""
    leave = dict(suggestion.leave)
    for mapped in suggestion.columns.values():
        source = next((c for c in suggestion.sample.columns if c.name == mapped.source), None)
        if source is not None and not source.path and mapped.sql != source.sql and source.name not in suggestion.unnest:
            leave.setdefault(source.name, "what it says stands in the columns above")
    for column in suggestion.sample.columns:
        if column.path:
            leave.setdefault(column.name.split(".")[0], "a struct: more of its fields by name: struct.field above")
    return replace(suggestion, leave={column: why for column, why in leave.items() if not _field(suggestion, column)})


def _field(suggestion: Suggestion, name: str) -> bool:
    """Whether a name is of a struct's field, which is no column of its own."""
    return any(column.name == name and column.path for column in suggestion.sample.columns)


def _is_name(column: Column) -> bool:
    """Whether values are ids or single words, not numbers with decimals, times or texts."""
    return as_id(column) is not None and as_time(column) is None and column.share(lambda v: " " in v) < POSSIBLE


def _clashing(sample: Sample, columns: Mapping[str, Mapped]) -> dict[str, str]:
    """Source columns whose name has a meaning in the log that they do not have."""
    used = {mapped.source for mapped in columns.values()}
    contract = {*ROLES["impressions"], *columns} - {"carted"}
    return {
        column.name: "its name has another meaning in the log"
        for column in sample.columns
        if column.name.lower() in {*contract, *RESERVED} and column.name not in used
    }


def _unique(sample: Sample, key: str) -> bool:
    surely = best(sample, key)
    return surely is not None and surely[1].filled == len(surely[1].counts)


def _names(sample: Sample) -> str:
    names = [column.name for column in sample.columns]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _as_stage(column: Column) -> Reading | None:
    return Reading(column.sql) if column.filled and column.share(lambda v: v.lower() in STAGES) == 1 else None


def _as_label(column: Column) -> Reading | None:
    return None if column.type.endswith("]") or not column.filled else Reading(column.sql)


def _as_list(column: Column) -> Reading | None:
    return None if column.path or separator_of(column) is None else Reading(column.sql)


def _as_event(column: Column) -> Reading | None:
    """A column of few values of which some name events."""
    if column.typed or len(column.counts) > MOST_KINDS or not any(event_of(value) for value in column.counts):
        return None
    return Reading(column.sql)


READINGS: Mapping[str, Callable[[Column], Reading | None]] = {
    **dict.fromkeys(("request_id", "session_id", "user_id", "query", "item_id"), as_id),
    **dict.fromkeys(("timestamp", "listed_at"), as_time),
    **dict.fromkeys(("clicked", "ordered", "carted"), as_flag),
    **dict.fromkeys(("price", "rank_score", "propensity"), as_number),
    **dict.fromkeys(("title", "category", "brand", "shop"), _as_label),
    **dict.fromkeys(("items", "clicked_items", "prices"), _as_list),
    "position": as_rank,
    "event": _as_event,
    "stage": _as_stage,
}
"""How the values of each role are read."""
VALUES_TELL: Mapping[str, Callable[[Column], bool]] = {
    "timestamp": lambda column: not is_outcome(column.name),
    "event": lambda column: len({event_of(value) for value in column.counts} - {None}) >= 2,
    "items": lambda column: column.type.endswith("[]") or separator_of(column) == "|",
}
"""Roles that values can tell where the name does not."""
