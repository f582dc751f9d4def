"""What a bundle holds as an engine's package needs it: its items, fields with legal names, the sides of a request."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float32

from configs.errors import InputError
from prerank.exporting.first_phase import TOP
from prerank.serving.bundle import Bundle
from prerank.serving.features import encode_ids, encode_side
from prerank.serving.hashing import Hashes
from prerank.serving.items import Catalogue
from prerank.serving.models import History, Side
from prerank.serving.network import Threads
from prerank.serving.prepared import prepare
from prerank.serving.request import ITEM_ID, Request
from prerank.serving.scorer import Scorer
from prerank.serving.spec import Features
from prerank.serving.tables import Table, map_tensors

ROWS = 4096
"""Items that are read at a time."""
NO_ITEM = np.zeros(1, np.int64)


@dataclass(frozen=True)
class Field:
    """An item column as a field of an engine.

    Attributes:
        column: its name in the log.
        name: a legal name in both engines.
        kind: text where it is searched by its words, else id, number or list.
        family: text, integer, unsigned, float, boolean, date, timestamp, time or bytes; of a list, of its values.
        complete: whether every item of the catalogue has a value.
    """

    column: str
    name: str
    kind: str
    family: str
    complete: bool

    @property
    def is_list(self) -> bool:
        """Whether it holds several values."""
        return self.kind == "list"


@dataclass(frozen=True)
class Item:
    """An item of the catalogue.

    Attributes:
        item_id: as in the log.
        key: the hash of its id as a name that needs no quoting.
        vector: the item side, as stored.
        values: field → value; a field without one is left out.
    """

    item_id: Any
    key: str
    vector: list[float]
    values: dict[str, Any]


class Package:
    """A bundle of a network, on its way into an engine.

    Args:
        folder: of the bundle.
        reserved: names that the engine keeps for itself, in lower case.

    Attributes:
        fields: of the item columns.

    Raises:
        InputError: if it is no bundle of a network with an item side.
    """

    def __init__(self, folder: Path, reserved: Collection[str]) -> None:
        self.bundle = Bundle.open(folder)
        if self.bundle.kind not in ("network", "two_towers"):
            raise InputError(
                f"{folder} holds {self.bundle.kind}, which has no item vectors to put into an engine: export a "
                "network, such as model=grace, or call the service from the engine's application"
            )
        self.features = Features.read(self.bundle.read("features.json"))
        vectors = Catalogue.open(self.bundle.path("items.safetensors")).vectors
        if vectors is None or not vectors.width:
            raise InputError(f"{folder}: the network sees no item column, so items have no vectors: fit it with some")
        self.vectors: Table = vectors
        self.attributes = pq.ParquetFile(self.bundle.path("item_attributes.parquet"))
        self.fields = _fields(self.features, self.attributes, reserved)
        fusion = json.loads(self.bundle.read("fusion.json"))
        self.weights = {head: float(fusion[head]) for head in self.features.heads}

    @property
    def id_family(self) -> str:
        """Family of the items' ids: text, integer or unsigned."""
        values = self.attributes.read([ITEM_ID]).column(ITEM_ID)
        return _family(values.type, values)

    @property
    def system(self) -> str:
        """Name of the system."""
        return self.features.system

    @property
    def is_towers(self) -> bool:
        """Whether the score is an inner product."""
        return self.bundle.kind == "two_towers"

    def items(self, dates: bool) -> Iterator[Item]:
        """The catalogue, in the bundle's order.

        Args:
            dates: dates and times as ISO 8601; otherwise as integers of their own unit, since 1970 or midnight.
        """
        row = 0
        for batch in self.attributes.iter_batches(ROWS):
            ids = batch.column(ITEM_ID).to_pylist()
            keys = item_keys(ids, self.features.item_type)
            vectors = self.vectors.take(np.arange(row, row + len(ids)))
            columns = {field.name: _values(batch.column(field.column), dates) for field in self.fields}
            for place, item_id in enumerate(ids):
                values = {name: column[place] for name, column in columns.items() if column[place] is not None}
                yield Item(item_id, keys[place], as_list(vectors[place]), values)
            row += len(ids)
        if row != len(self.vectors):
            raise InputError(f"{self.bundle.folder}: {row} items have attributes, {len(self.vectors)} have vectors")


class RequestSides:
    """A request's and its candidates' vectors, as the network takes them.

    Args:
        folder: of a network's bundle.
        verify: compare the files' SHA-256.
    """

    def __init__(self, folder: Path, verify: bool = True) -> None:
        bundle = Bundle.open(folder, verify)
        self.features = Features.read(bundle.read("features.json"))
        self._catalogue = Catalogue.open(bundle.path("items.safetensors"))
        tensors, threads = map_tensors(bundle.path("tables.safetensors")), Threads(1)
        self._sides = {side: Side(self.features.sides[side], tensors, bundle, threads) for side in ("request", "pair")}
        self._history = History(dict(self.features.history), tensors) if self.features.history else None

    def of_request(self, request: Request) -> dict[str, np.ndarray]:
        """``request`` [1, width], and ``history`` and ``present`` where the network attends to earlier items."""
        encoded = prepare(request, self.features, self._catalogue).request
        vectors = {"request": self._sides["request"].vectors(encoded, NO_ITEM)} if self._sides["request"].width else {}
        return vectors | ({} if self._history is None else self._history.inputs(encoded))

    def of_pairs(self, request: Request) -> dict[str, Float32[np.ndarray, " width"]]:
        """Key of each candidate → its pair side's vector; empty for a network without a pair side."""
        if not self._sides["pair"].width:
            return {}
        prepared = prepare(request, self.features, self._catalogue)
        vectors = self._sides["pair"].vectors(prepared.pair, prepared.item_hash)
        return dict(zip(map(_key, prepared.item_hash.tolist()), vectors, strict=True))

    def missing(self, side: str) -> Float32[np.ndarray, " width"]:
        """The vector of a request or a pair of which nothing is known."""
        nothing = encode_side(self.features.columns[side], {}, 1, self.features.lengths, lambda name, _: name)
        vector: np.ndarray = self._sides[side].vectors(nothing, NO_ITEM)[0]
        return vector


def without_pairs(folder: Path, sent: Collection[str]) -> str:
    """What scores lose of which only some columns of the pair side are sent, in words: measured on golden requests.

    Args:
        folder: of the bundle.
        sent: names of these columns.
    """
    scorer, shares = Scorer.load(folder, threads=1, verify=False), []
    for golden in json_lines(scorer.bundle.read("golden.jsonl")):
        candidates = golden["body"]["candidates"]
        if len(candidates[ITEM_ID]) > TOP:
            some = {name: values for name, values in candidates.items() if name in (ITEM_ID, *sent)}
            full, less = (scorer.score(Request(golden["body"]["request"], each)).score for each in (candidates, some))
            best, left = (np.argsort(-scores, kind="stable")[:TOP] for scores in (full, less))
            shares.append(np.isin(best, left).mean())
    if not shares:
        return f"not measured: no golden request has more than {TOP} candidates"
    return f"{np.mean(shares):.2f} of the {TOP} best stay among the {TOP} best, over {len(shares)} golden requests"


def item_keys(ids: Sequence[Any], type_: str) -> list[str]:
    """The key of each item id."""
    hashes: Hashes = encode_ids(ids, type_, lambda row: ITEM_ID if row is None else f"{ITEM_ID}[{row}]")
    return [_key(value) for value in hashes.tolist()]


def _key(item_hash: int) -> str:
    return f"i{item_hash:016x}"


def as_list(vector: Float32[np.ndarray, " width"]) -> list[float]:
    """The shortest decimals that give the same float32 back."""
    return [float(str(value)) for value in vector]


def decimal(value: float) -> str:
    """A float32 without an exponent, which neither engine's grammar allows everywhere."""
    return np.format_float_positional(np.float32(value), unique=True, trim="0")


def legal_names(columns: Sequence[str], reserved: Collection[str]) -> dict[str, str]:
    """Column → a name of ASCII letters, digits and ``_`` that starts with a letter, is not reserved and is no other's.

    Names are told apart without regard to case.

    Args:
        columns: distinct names.
        reserved: in lower case.
    """
    used = set(reserved)
    names = {}
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_]+", "_", column).strip("_") or "column"
        if not name[0].isalpha() or name.lower() in reserved:
            name = f"c_{name}"
        number, unique = 2, name
        while unique.lower() in used:
            unique, number = f"{name}_{number}", number + 1
        used.add(unique.lower())
        names[column] = unique
    return names


def _fields(features: Features, attributes: pq.ParquetFile, reserved: Collection[str]) -> list[Field]:
    kinds: dict[str, str] = {}
    for each in features.columns["item"]:
        # A column may be seen as an id and as a text: then it is searched by its words.
        kinds[each.name] = each.kind if each.name not in kinds or each.kind == "text" else kinds[each.name]
    kinds.pop(ITEM_ID, None)  # every package has it
    names = legal_names(list(kinds), reserved)
    fields = []
    for column, kind in kinds.items():
        type_ = attributes.schema_arrow.field(column).type
        is_list = _is_list(type_)
        values = attributes.read([column]).column(column)
        family = _family(type_.value_type if is_list else type_, pc.list_flatten(values) if is_list else values)
        shown = "list" if is_list else "id" if kind == "text" and family != "text" else kind
        fields.append(Field(column, names[column], shown, family, values.null_count == 0))
    return fields


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def _family(type_: pa.DataType, values: pa.ChunkedArray) -> str:
    types = pa.types
    if types.is_dictionary(type_):
        return _family(type_.value_type, values)
    if types.is_uint64(type_) and (pc.max(values).as_py() or 0) > np.iinfo(np.int64).max:
        return "unsigned"
    families = {
        "boolean": types.is_boolean,
        "integer": types.is_integer,
        "float": lambda each: types.is_floating(each) or types.is_decimal(each),
        "date": types.is_date,
        "timestamp": types.is_timestamp,
        "time": lambda each: types.is_time(each) or types.is_duration(each),
        "bytes": lambda each: types.is_binary(each) or types.is_large_binary(each) or types.is_fixed_size_binary(each),
    }
    return next((family for family, test in families.items() if test(type_)), "text")


def _values(column: pa.Array, dates: bool) -> list[Any]:
    """Values as JSON has them; None where there is none, or no number."""
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if _is_list(column.type):
        flat = _values(column.flatten(), dates)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        ends = np.cumsum(lengths)
        rows = [flat[end - length : end] for end, length in zip(ends, lengths, strict=True)]
        return [[value for value in row if value is not None] or None for row in rows]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    type_ = column.type
    if pa.types.is_temporal(type_):
        return _times(column, dates)
    if pa.types.is_decimal(type_) or pa.types.is_float16(type_):
        column = column.cast(pa.float64())
    if pa.types.is_float32(type_):
        return [float(str(np.float32(value))) if _is_number(value) else None for value in column.to_pylist()]
    if pa.types.is_floating(column.type):
        return [value if _is_number(value) else None for value in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return [base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in values]


def _times(column: pa.Array, dates: bool) -> list[Any]:
    type_ = column.type
    if not dates or pa.types.is_duration(type_):
        narrow = pa.types.is_date32(type_) or pa.types.is_time32(type_)
        integers: list[Any] = (column.cast(pa.int32()) if narrow else column).cast(pa.int64()).to_pylist()
        return integers
    if pa.types.is_timestamp(type_):
        texts = pc.strftime(column.cast(pa.timestamp(type_.unit, "UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    else:
        texts = column.cast(pa.date32()).cast(pa.string()) if pa.types.is_date(type_) else column.cast(pa.string())
    iso: list[Any] = texts.to_pylist()
    return iso


def _is_number(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first row the header."""
    header, *body = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def recall_table(recall: Mapping[str, Mapping[str, float]]) -> str:
    """What the first phase was measured to let through (:func:`prerank.exporting.first_phase.recall`)."""
    rows = [
        [window, f"{each['recall']:.3f}", f"{each['chance']:.3f}", f"{each['requests']:,}"]
        for window, each in recall.items()
    ]
    return markdown_table([["first phase's best", "of the network's 10 best", "by chance", "requests"], *rows])


def json_lines(content: bytes) -> list[dict[str, Any]]:
    """The objects of JSON lines."""
    return [json.loads(line) for line in content.splitlines()]


def write_lines(path: Path, lines: Iterator[Mapping[str, Any]]) -> int:
    """Write JSON lines.

    Returns:
        How many.
    """
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
            count += 1
    return count
