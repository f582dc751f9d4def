"""What a node is before any message: hashed n-grams of its text and hashed attribute values; never its own id.

Titles, queries and textual attribute values share one space of n-grams, so that a word means the same on both sides of
a query-item edge. Every other attribute is a value hashed together with its column's name. Numbers become one of
``PRICE_BUCKETS`` quantile buckets. Index 0 is padding; the others are rows of one table of ``text_buckets`` embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from configs.console import say
from configs.schema import DataConfig, FeatureKind, PretrainConfig, Side
from graph.hashing import hash_ngrams, hash_values
from graph.logs.contract import family_of
from graph.logs.log import SearchLog
from graph.store import Graph
from pretrain.sparse import RowMeans

NGRAMS = 24
"""Words and 3-grams kept per text."""
LIST_VALUES = 12
"""Values kept per list attribute."""
NUMBER_BUCKETS = 20
TEXT_COLUMN = "title"
HASHED = {"string", "integer", "boolean", "float", "timestamp", "date", "null"}
"""Families of types of ids and of the values of lists."""
NOT_FEATURES = ("item_id", "query", "listed_at", "key", "degree")

Buckets = Int64[np.ndarray, "nodes slots"]


class NodeFeatures:
    """Rows of the embedding table for every node of one type.

    Args:
        text: n-grams [nodes, slots], 1 + row; 0 is padding.
        values: attribute values [nodes, slots], 1 + row; 0 is padding. Either may have no slots.
        buckets: rows of the embedding table.

    Attributes:
        buckets: the hash bucket that each row of the table stands for, ascending.
    """

    def __init__(self, text: Buckets, values: Buckets, buckets: int) -> None:
        # One matrix: row 2v holds the text of node v, row 2v + 1 its values.
        used = [slots > 0 for slots in (text, values)]
        counts = np.stack([of.sum(axis=1) for of in used], axis=1).ravel()
        self.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        slots = np.hstack([text, values])
        self.indices = (slots[np.hstack(used)] - 1).astype(np.int32)
        self.buckets = np.arange(buckets)

    def __len__(self) -> int:
        return (len(self.indptr) - 1) // 2

    @property
    def empty(self) -> bool:
        """Whether no node has any feature."""
        return not len(self.indices)

    def take(self, nodes: Int64[np.ndarray, " nodes"]) -> RowMeans:
        """The matrix of means for some nodes: for each a row of its text, then a row of its values."""
        rows = (2 * nodes[:, None] + np.arange(2)).ravel()
        return RowMeans(self.indptr, self.indices, None, len(self.buckets), rows)

    def renumber(self, buckets: Int64[np.ndarray, " used"]) -> None:
        """Leave these buckets only, among them all that a node has, in the table."""
        self.indices = np.searchsorted(self.buckets[buckets], self.indices).astype(np.int32)
        self.buckets = self.buckets[buckets]


def node_features(graph: Graph, log: SearchLog, data: DataConfig, config: PretrainConfig) -> dict[str, NodeFeatures]:
    """The features of every node type.

    Items: every column of the items table, or those that ``data.features`` names. Queries: the query's text, and the
    columns of the queries table. Attribute nodes: the value itself. The buckets that no node has are left out.
    """
    kinds = {f.column: f.kind for f in data.features if f.side is Side.item} if data.features else None
    buckets = config.text_buckets
    features_of = {"item": NodeFeatures(*_of_table(log.items(), kinds, buckets, _with_edges(graph, "item")), buckets)}
    for kind in graph.node_counts:
        if kind == "item":
            continue
        keys = graph.nodes(kind)["key"]
        parts = [_of_keys(keys, kind, buckets)]
        attributes = log.queries() if kind == "query" else None
        if attributes is not None:
            rows = pc.index_in(keys, value_set=attributes["query"].combine_chunks())
            parts.append(_of_table(attributes.take(rows), None, buckets, _with_edges(graph, "query")))
        texts, values = zip(*parts, strict=True)
        features_of[kind] = NodeFeatures(np.hstack(texts), np.hstack(values), buckets)
    # Most buckets of a small log are empty, and every row of the table costs time in every step.
    used = np.unique(np.concatenate([features.indices for features in features_of.values()])).astype(np.int64)
    for features in features_of.values():
        features.renumber(used)
    bare = [kind for kind, features in features_of.items() if features.empty]
    if bare:
        say(f"psi: nodes without features of their own, known by their neighbours only: {', '.join(sorted(bare))}")
    return features_of


def _with_edges(graph: Graph, kind: str) -> npt.NDArray[np.bool_]:
    """Nodes that training knows: those without any edge may be listed after its end. [nodes]"""
    known = np.zeros(graph.node_counts[kind], dtype=np.bool_)
    for key, relation in graph.relations.items():
        if key[2] == kind:
            known |= np.diff(relation.indptr) > 0
    return known


def _of_keys(keys: pa.ChunkedArray, kind: str, buckets: int) -> tuple[Buckets, Buckets]:
    """Text and values of a query (n-grams where it is text, else its key) or an attribute value (both)."""
    none: Buckets = np.zeros((len(keys), 0), np.int64)
    if not _is_text(keys.type):
        return none, _hashed(keys, kind, buckets)[:, None]
    return _ngrams(keys, buckets), none if kind == "query" else _hashed(keys, kind, buckets)[:, None]


def _of_table(
    table: pa.Table, kinds: Mapping[str, FeatureKind] | None, buckets: int, known: npt.NDArray[np.bool_]
) -> tuple[Buckets, Buckets]:
    texts: list[Buckets] = [np.zeros((len(table), 0), np.int64)]
    values: list[Buckets] = [np.zeros((len(table), 0), np.int64)]
    for name in table.column_names:
        if name in NOT_FEATURES or (kinds is not None and name not in kinds):
            continue
        column = table[name]
        kind = kinds[name] if kinds is not None else kind_of(name, column.type)
        if kinds is None and not _usable(column.type, kind):
            say(f"psi: column {name} ({column.type}) is no feature: its type is neither id, number, text nor list")
            continue
        if kind is FeatureKind.text:
            texts.append(_ngrams(column, buckets))
        elif kind is FeatureKind.list:
            values.append(_lists(column, name, buckets))
        elif kind is FeatureKind.number:
            values.append(_quantiles(column, name, buckets, known)[:, None])
        else:
            values.append(_hashed(column, name, buckets)[:, None])
            if _is_text(column.type):
                texts.append(_ngrams(column, buckets))
    return np.hstack(texts), np.hstack(values)


def kind_of(name: str, kind: pa.DataType) -> FeatureKind:
    """The kind of a column that the configuration does not name."""
    if name == TEXT_COLUMN:
        return FeatureKind.text
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return FeatureKind.list
    return FeatureKind.number if pa.types.is_floating(kind) else FeatureKind.id


def _usable(kind: pa.DataType, feature: FeatureKind) -> bool:
    """Whether a column of this type can be hashed as this kind of feature."""
    if feature is FeatureKind.list:
        kind = kind.value_type
    return feature is FeatureKind.number or family_of(kind) in HASHED


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _rows(hashes: npt.NDArray[np.int64], buckets: int) -> npt.NDArray[np.int64]:
    """Hashes to rows 1 ... buckets; a hash of 0 is padding and stays 0."""
    return np.where(hashes == 0, 0, 1 + hashes % buckets)


def _ngrams(column: pa.ChunkedArray, buckets: int) -> Buckets:
    return _rows(hash_ngrams(column, NGRAMS), buckets)


def _hashed(column: pa.ChunkedArray, name: str, buckets: int) -> Int64[np.ndarray, " nodes"]:
    """Values hashed together with the column's name; a missing value is padding."""
    return _rows(_salted(hash_values(column), name, pc.is_null(column)), buckets)


def _salted(hashes: Int64[np.ndarray, " values"], name: str, missing: pa.ChunkedArray) -> Int64[np.ndarray, " values"]:
    salt = hash_values(pa.array([name]))[0]
    mixed = hash_values(pa.array(hashes ^ salt))
    mixed[missing.to_numpy(zero_copy_only=False) if isinstance(missing, pa.Array) else missing.to_numpy()] = 0
    return mixed


def _lists(column: pa.ChunkedArray, name: str, buckets: int) -> Buckets:
    """The first values of each list."""
    lists = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    flat = pc.list_flatten(lists)
    hashes = _salted(hash_values(flat), name, pc.is_null(flat))
    slots: Buckets = np.zeros((len(lists), LIST_VALUES), np.int64)
    row = np.repeat(np.arange(len(lists)), lengths)
    place = np.arange(len(hashes)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    first = place < LIST_VALUES
    slots[row[first], place[first]] = hashes[first]
    return _rows(slots, buckets)


def _quantiles(
    column: pa.ChunkedArray, name: str, buckets: int, known: npt.NDArray[np.bool_]
) -> Int64[np.ndarray, " nodes"]:
    """Numbers as the hash of their bucket between the known nodes' quantiles; missing and infinite ones as padding."""
    numbers = pc.fill_null(column.cast(pa.float64(), safe=False), float("nan")).to_numpy()
    finite = np.isfinite(numbers)
    if not (finite & known).any():
        return np.zeros(len(numbers), np.int64)
    edges = np.unique(np.quantile(numbers[finite & known], np.linspace(0, 1, NUMBER_BUCKETS + 1)[1:-1]))
    bucket = np.searchsorted(edges, np.nan_to_num(numbers), side="right")
    return _rows(_salted(hash_values(pa.array(bucket)), f"{name} quantile", pa.array(~finite)), buckets)
