"""A small good log as columns of Python values, the types that it may be cast to, and the values that may spoil it."""

from __future__ import annotations

import datetime
import decimal
import math
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

START = datetime.datetime(2024, 3, 1, 9, tzinfo=datetime.UTC)
DAYS, REQUESTS, LENGTH, ITEMS = 4, 3, 4, 8


def _lists(make: Any) -> Any:
    return lambda value, row: [make(value, row)] * (row % 3)


def _number(value: Any, row: int) -> int:
    return int(value) if isinstance(value, int) else row


def _moment(value: Any, row: int) -> datetime.datetime:
    return value if isinstance(value, datetime.datetime) else START + datetime.timedelta(hours=row)


def _text(value: Any, row: int) -> str:
    del row
    return str(value)


def _of_value(make: Any) -> Any:
    def convert(value: Any, row: int) -> Any:
        del row
        return make(value)

    return convert


def _of_row(make: Any) -> Any:
    def convert(value: Any, row: int) -> Any:
        del value
        return make(row)

    return convert


TYPES: dict[str, tuple[pa.DataType, Any]] = {
    **{
        f"{sign}int{size}": (getattr(pa, f"{sign}int{size}")(), lambda v, r: int(_number(v, r)) % 100)
        for sign in ("", "u")
        for size in (8, 16, 32, 64)
    },
    **{f"float{size}": (getattr(pa, f"float{size}")(), lambda v, r: float(_number(v, r))) for size in (16, 32, 64)},
    "bool": (pa.bool_(), _of_value(lambda v: bool(v))),
    "decimal": (pa.decimal128(12, 2), lambda v, r: decimal.Decimal(_number(v, r) % 1000)),
    "decimal256": (pa.decimal256(60, 3), lambda v, r: decimal.Decimal(_number(v, r) % 1000)),
    "string": (pa.string(), _text),
    "large_string": (pa.large_string(), _text),
    "string_view": (pa.string_view(), _text),
    "category": (pa.dictionary(pa.int8(), pa.string()), _text),
    "category_of_int": (pa.dictionary(pa.int32(), pa.int64()), _number),
    "binary": (pa.binary(), _of_value(lambda v: str(v).encode())),
    "large_binary": (pa.large_binary(), _of_value(lambda v: str(v).encode())),
    "fixed_binary": (pa.binary(4), _of_row(lambda r: f"{r:04d}"[:4].encode())),
    **{
        f"timestamp_{unit}{'_' + zone if zone else ''}": (pa.timestamp(unit, zone or None), _moment)
        for unit in ("s", "ms", "us", "ns")
        for zone in ("", "UTC", "Asia/Tokyo", "+02:00")
    },
    "date32": (pa.date32(), lambda v, r: _moment(v, r).date()),
    "date64": (pa.date64(), lambda v, r: _moment(v, r).date()),
    "time": (pa.time64("us"), _of_row(lambda r: datetime.time(r % 24))),
    "duration": (pa.duration("s"), _of_row(lambda r: datetime.timedelta(seconds=r))),
    "null": (pa.null(), lambda *_: None),
    "list_string": (pa.list_(pa.string()), _lists(_text)),
    "list_int": (pa.list_(pa.int64()), _lists(_number)),
    "list_float": (pa.list_(pa.float32()), _lists(lambda v, r: float(_number(v, r)))),
    "list_list": (pa.list_(pa.list_(pa.int64())), lambda v, r: [[_number(v, r)]] * (r % 3)),
    "list_struct": (pa.list_(pa.struct([("a", pa.int64())])), _of_row(lambda r: [{"a": r}] * (r % 3))),
    "list_null": (pa.list_(pa.null()), _of_row(lambda r: [None] * (r % 3))),
    "large_list": (pa.large_list(pa.int64()), _lists(_number)),
    "fixed_list": (pa.list_(pa.int64(), 2), _of_row(lambda r: [r, r])),
    "list_category": (pa.list_(pa.dictionary(pa.int8(), pa.string())), _lists(_text)),
    "struct": (pa.struct([("a", pa.int64()), ("b c", pa.string())]), lambda v, r: {"a": r, "b c": str(v)}),
    "struct_empty": (pa.struct([("a", pa.null())]), lambda *_: {"a": None}),
    "map": (pa.map_(pa.string(), pa.int64()), _of_row(lambda r: [("a", r)])),
}
"""Name → Arrow type and how a value of the good log becomes one of it."""

VALUES: dict[str, Any] = {
    "none": None,
    "nan": math.nan,
    "inf": math.inf,
    "minus_inf": -math.inf,
    "minus_zero": -0.0,
    "zero": 0,
    "one": 1,
    "minus_one": -1,
    "half": 0.5,
    "tiny": 5e-324,
    "large": 1e308,
    "beyond_float": 2**53 + 1,
    "most_int": 2**63 - 1,
    "least_int": -(2**63),
    "beyond_int": 2**64 - 1,
    "most_int32": 2**31 - 1,
    "true": True,
    "false": False,
    "empty": "",
    "blank": "  \t ",
    "nul": "a\x00b",
    "newline": "a\r\nb",
    "quote": "it's \"; DROP TABLE items; --",
    "chinese": "漢字" * 24,
    "emoji": "👩‍👩‍👧‍👦e\u0301\u202e\ufeff",
    "long": "x" * 70_000,
    "null_text": "NULL",
    "nan_text": "nan",
    "zeros": "007",
    "one_text": "1",
    "float_text": "1.0",
    "bad_utf8": b"\xff\xfe caf\xe9",
    "first_year": datetime.datetime(1, 1, 1, tzinfo=datetime.UTC),
    "last_year": datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC),
    "epoch": datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
    "midnight": datetime.datetime(2024, 3, 2, tzinfo=datetime.UTC),
    "other_day": datetime.datetime(2024, 3, 3, 1, tzinfo=datetime.UTC),
    "bc": -(10**12),
    "far": 10**11,
    "empty_list": [],
    "nested": {"a": 1},
}
"""What one cell may become, where its column's type can hold it."""

NAMES = {
    "own": "own",
    "spaces": "a b",
    "quote": "a\"b'c",
    "sql": "select",
    "chinese": "漢字" * 24,
    "long": "c" * 300,
    "empty": "",
    "dot": "a.b",
    "slash": "a/b",
    "dots": "..",
    "emoji": "👍",
    "newline": "a\nb",
    "day": "day",
    "split": "split",
    "file": "__file",
    "row": "file_row_number",
    "hash": "item_hash",
    "reason": "reason",
    "upper": "ITEM_ID",
    "unnamed": "__index_level_0__",
    "number": "7",
    "brace": "{x}",
    "percent": "%s",
    "source": "source",
    "earlier": "earlier_day",
    "occurrence": "occurrence",
    "first": "first_user_id",
    "history": "history",
    "carted": "carted",
    "brand": "brand",
    "title": "title",
    "title_upper": "Title",
    "listed_at": "listed_at",
    "index": "index",
    "raw": "raw",
    "moment": "moment",
}
"""Names that a column may have."""


@dataclass
class Column:
    """Values and their Arrow type."""

    values: list[Any]
    type: pa.DataType


@dataclass
class Table:
    """Columns in order; a name may occur twice."""

    columns: list[tuple[str, Column]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(self.columns[0][1].values) if self.columns else 0

    def cast(self, name: str, type_name: str) -> None:
        """Give a column another type, its values what they would be in it."""
        type_, convert = TYPES[type_name]
        for called, column in self.columns:
            if called == name:
                column.values = [None if v is None else convert(v, row) for row, v in enumerate(column.values)]
                column.type = type_

    def spoil(self, name: str, row: int, value_name: str) -> None:
        """Put a value into a cell, where the column's type can hold it."""
        for called, column in self.columns:
            if called == name and column.values:
                spoilt = list(column.values)
                spoilt[row % len(spoilt)] = VALUES[value_name]
                try:
                    as_array(Column(spoilt, column.type))
                except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
                    return
                column.values = spoilt

    def as_arrow(self) -> pa.Table:
        return pa.Table.from_arrays([as_array(c) for _, c in self.columns], names=[name for name, _ in self.columns])


def as_array(column: Column) -> pa.Array:
    """An Arrow array; bytes among texts stay as they are, valid UTF-8 or not."""
    if pa.types.is_string(column.type) and any(isinstance(value, bytes) for value in column.values):
        raw = pa.array([v.encode() if isinstance(v, str) else v for v in column.values], pa.binary())
        return pa.Array.from_buffers(column.type, len(raw), raw.buffers(), raw.null_count)
    if pa.types.is_string(column.type) and not all(isinstance(v, str | None) for v in column.values):
        raise TypeError("no text")
    return pa.array(column.values, column.type)


def good_log() -> dict[str, Table]:
    """Impressions of some days in the contract's form, with items, users and queries."""
    rows = []
    for request in range(DAYS * REQUESTS):
        moment = START + datetime.timedelta(days=request // REQUESTS, minutes=request)
        for place in range(LENGTH):
            clicked = place == request % LENGTH
            rows.append(
                {
                    "request_id": request,
                    "user_id": request % 3,
                    "query": f"query {request % 2}",
                    "item_id": (request + 2 * place) % ITEMS,
                    "timestamp": moment,
                    "stage": "exposed",
                    "position": place + 1,
                    "rank_score": float(-place),
                    "clicked": clicked,
                    "ordered": clicked and request % 2 == 0,
                    "price": 1.0 + place,
                    "session_id": request % 5,
                    "device": "mobile" if request % 2 else "desktop",
                }
            )
    plain = {
        "timestamp": "timestamp_ms_UTC",
        "position": "int32",
        "rank_score": "float32",
        "price": "float32",
        "clicked": "bool",
        "ordered": "bool",
        **dict.fromkeys(("query", "stage", "device", "title", "brand", "segment", "topic"), "string"),
    }

    def table(records: list[dict[str, Any]]) -> Table:
        made = Table()
        for name in records[0]:
            type_, _ = TYPES[plain.get(name, "int64")]
            made.columns.append((name, Column([record[name] for record in records], type_)))
        return made

    items = [{"item_id": i, "title": f"thing {i}", "brand": f"b{i % 3}", "price": 2.0 + i} for i in range(ITEMS)]
    return {
        "impressions": table(rows),
        "items": table(items),
        "users": table([{"user_id": user, "segment": f"s{user}"} for user in range(3)]),
        "queries": table([{"query": f"query {query}", "topic": f"t{query}"} for query in range(2)]),
    }
