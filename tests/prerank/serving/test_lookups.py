"""Parts of a side in NumPy against the torch modules that they stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from configs.errors import InputError
from configs.schema import Hashing, ItemNetworkConfig
from prerank.encoding.schema import NumberStatistics
from prerank.network import hash_id as hash_ids
from prerank.network import inputs
from prerank.network.hash_id import HashId
from prerank.network.inputs import HashedTable, NumberEncoder
from prerank.serving import lookups
from prerank.serving.features import Encoded
from prerank.serving.lookups import part_of, place_among, pooled, side_by_side
from prerank.serving.tables import Table, map_tensors
from prerank.systems.cold_ids import ItemPlaces
from prerank.systems.deepfm import ProjectedIds
from prerank.systems.pretrained_item_id import PretrainedTable

ROWS, LENGTH = 40, 7
NO_HASHES = np.zeros(ROWS, np.int64)


@pytest.fixture
def draw() -> np.random.Generator:
    torch.manual_seed(0)
    return np.random.default_rng(0)


def hashes_of(draw: np.random.Generator, *shape: int) -> np.ndarray:
    return draw.integers(1, 2**63, shape, np.int64)


def lists_of(draw: np.random.Generator) -> np.ndarray:
    """Lists with holes, of no value at all and full ones."""
    lists = np.where(draw.random((ROWS, LENGTH)) < 0.5, 0, hashes_of(draw, ROWS, LENGTH))
    lists[3], lists[4], lists[-1] = 0, hashes_of(draw, LENGTH), 0
    return lists


def array(values: torch.Tensor) -> np.ndarray:
    return values.detach().numpy()


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """Writes tensors and maps them again, as a bundle has them."""

    def save(**tensors: np.ndarray) -> dict[str, np.ndarray]:
        save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, tmp_path / "t.safetensors")
        return map_tensors(tmp_path / "t.safetensors")

    return save


def test_id_columns(draw: np.random.Generator, saved: Any) -> None:
    table = HashedTable({"brand": 50, "query": 30}, 4)
    part = part_of(
        {
            "kind": "columns",
            "table": "T",
            "columns": [{"column": "query", "offset": 50, "rows": 30}, {"column": "brand", "offset": 0, "rows": 50}],
        },
        saved(T=array(table.weight)),
    )
    ids = {"brand": hashes_of(draw, ROWS), "query": hashes_of(draw, ROWS)}
    both = torch.from_numpy(np.stack([ids["query"], ids["brand"]], axis=1))
    assert np.array_equal(part(Encoded(ROWS, ids=ids), NO_HASHES), array(table.lookup(["query", "brand"], both)))


def test_a_list(draw: np.random.Generator, saved: Any) -> None:
    table = HashedTable({"brand": 50, "words": 30}, 4)
    part = part_of(
        {"kind": "list", "table": "T", "column": "words", "offset": 50, "rows": 30}, saved(T=array(table.weight))
    )
    lists = lists_of(draw)
    expected = array(table.pool("words", torch.from_numpy(lists)))
    assert np.abs(part(Encoded(ROWS, lists={"words": lists}), NO_HASHES) - expected).max() < 1e-8


@pytest.mark.parametrize("hashing", list(Hashing))
@pytest.mark.parametrize("width", [None, 3])
def test_hashed_items(hashing: Hashing, width: int | None, draw: np.random.Generator, saved: Any) -> None:
    config = ItemNetworkConfig(hash_vocabulary=100, hash_dimension=4, hashing=hashing)
    module = HashId(config) if width is None else ProjectedIds(config, width)
    hash_id = module if isinstance(module, HashId) else module.hash_id
    torch.nn.init.normal_(hash_id.table.weight)
    tensors = saved(T=array(hash_id.table.weight), **({} if width is None else {"P": array(module.projection.weight)}))
    entry = {
        "kind": "hash_id",
        "table": "T",
        "hashing": hashing.value,
        "counts": list(hash_ids.bucket_counts(config)),
        "starts": list(hash_id.starts),
        "projection": None if width is None else "P",
    }
    item, lists = hashes_of(draw, ROWS), lists_of(draw)
    encoded = Encoded(ROWS, ids={"other": item[::-1].copy()}, lists={"history": lists})
    for column, is_list, expected in (
        (None, False, module(torch.from_numpy(item))),
        ("other", False, module(torch.from_numpy(item[::-1].copy()))),
        ("history", True, module.pool("history", torch.from_numpy(lists))),
    ):
        part = part_of(entry | {"column": column, "list": is_list}, tensors)
        vectors = part(encoded, item)
        assert vectors.shape == (ROWS, part.width)
        assert np.abs(vectors - array(expected)).max() < 1e-6


def test_projected_rows_do_not_depend_on_the_rows_beside_them(draw: np.random.Generator, saved: Any) -> None:
    tensors = saved(T=draw.normal(size=(100, 32)).astype(np.float32), P=draw.normal(size=(8, 32)).astype(np.float32))
    entry = {"kind": "hash_id", "table": "T", "hashing": "single", "counts": [100], "starts": [0], "projection": "P"}
    part = part_of(entry | {"column": None, "list": False}, tensors)
    item = hashes_of(draw, 501)
    whole = part(Encoded(501), item)
    alone = np.concatenate([part(Encoded(1), item[row : row + 1]) for row in range(501)])
    assert np.array_equal(whole, alone)


@pytest.mark.parametrize("known", [0, 25])
def test_pretrained_rows(known: int, draw: np.random.Generator, saved: Any) -> None:
    hashes = hashes_of(draw, known)
    table = PretrainedTable(hashes, draw.normal(size=(known, 4)).astype(np.float32), train=False)
    tensors = saved(T=array(table.table.weight), H=array(table.hashes))
    entry = {"kind": "known_rows", "table": "T", "hashes": "H"}
    item = np.concatenate([hashes, hashes_of(draw, ROWS - known)])
    lists = np.where(draw.random((ROWS, LENGTH)) < 0.5, draw.choice(item, (ROWS, LENGTH)), 0)
    encoded = Encoded(ROWS, lists={"history": lists})
    own = part_of(entry | {"column": None, "list": False}, tensors)
    assert np.array_equal(own(encoded, item), array(table(torch.from_numpy(item))))
    earlier = part_of(entry | {"column": "history", "list": True}, tensors)
    expected = array(table.pool("history", torch.from_numpy(lists)))
    assert np.abs(earlier(encoded, item) - expected).max() < 1e-6


@pytest.mark.parametrize("known", [0, 25])
def test_known_items(known: int, draw: np.random.Generator, saved: Any) -> None:
    hashes = hashes_of(draw, known)
    places = ItemPlaces(hashes)
    item = np.concatenate([hashes, hashes_of(draw, ROWS - known)])
    expected = array(places(torch.from_numpy(item)))
    assert np.array_equal(place_among(np.unique(hashes), item), expected)
    part = part_of({"kind": "is_known", "hashes": "H"}, saved(H=np.unique(hashes)))
    assert np.array_equal(part(Encoded(ROWS), item)[:, 0], expected < known)


def test_numbers(draw: np.random.Generator, saved: Any) -> None:
    """Values on edges, beyond them, far off and missing; numbers with many edges, with one, and with none."""
    edges = [np.unique(draw.normal(size=31).astype(np.float32)), np.float32([0.5]), np.float32([])]
    numbers = [
        NumberStatistics(f"n{place}", 0.3 * place, 1.7 if place else 0.0, tuple(float(e) for e in each), 0.1)
        for place, each in enumerate(edges)
    ]
    encoder = NumberEncoder(numbers, 4)
    torch.nn.init.normal_(encoder.weight)
    values = draw.normal(size=(ROWS, 3)).astype(np.float32) * 3
    values[:31, 0], values[:5, 1], values[5:9, 1] = np.resize(edges[0], 31), 0.5, np.nan
    values[31], values[32], values[33] = np.nan, 1e18, -1e18
    entry = {
        "kind": "numbers",
        "table": "T",
        "mean": "M",
        "scale": "S",
        "edges": "E",
        "buckets": encoder.buckets,
        "columns": ["n0", "n1", "n2"],
    }
    tensors = saved(T=array(encoder.weight), M=array(encoder.mean), S=array(encoder.scale), E=array(encoder.edges))
    part = part_of(entry, tensors)
    encoded = Encoded(ROWS, numbers={f"n{place}": values[:, place] for place in range(3)})
    assert np.array_equal(part(encoded, NO_HASHES), array(encoder(torch.from_numpy(values))))
    flag = part_of({"kind": "is_known", "hashes": "M"}, {"M": np.zeros(0, np.int64)})
    both = side_by_side([part, flag], encoded, NO_HASHES)
    assert np.array_equal(both[:, :-1], part(encoded, NO_HASHES))
    assert not both[:, -1].any()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_stored_tables(precision: str, draw: np.random.Generator, saved: Any) -> None:
    values = draw.normal(size=(20, 6)).astype(np.float32)
    scale = np.abs(values).max(axis=1) / 127
    stored = {
        "fp32": {"T": values},
        "fp16": {"T": values.astype(np.float16)},
        "int8": {"T": np.round(values / scale[:, None]).astype(np.int8), "T.scale": scale},
    }[precision]
    table = Table.of(saved(**stored), "T")
    expected = stored["T"].astype(np.float32) * (scale[:, None] if precision == "int8" else 1)
    rows = draw.integers(0, 20, 50)
    assert np.array_equal(table.take(rows), expected[rows])
    assert (len(table), table.width) == (20, 6)


def test_a_mean_over_nothing_is_zero() -> None:
    assert np.array_equal(
        pooled(np.zeros((3, 4), np.int64), lambda hashes: np.ones((len(hashes), 2), np.float32)), np.zeros((3, 2))
    )


def test_what_is_not_there_is_named(saved: Any) -> None:
    with pytest.raises(InputError, match="no 'T'"):
        part_of(
            {"kind": "list", "table": "T", "column": "c", "rows": 3, "offset": 0}, saved(U=np.zeros((1, 1), np.float32))
        )
    with pytest.raises(InputError, match="'magic', which this version does not know"):
        part_of({"kind": "magic", "table": "U"}, saved(U=np.zeros((1, 1), np.float32)))


@pytest.mark.parametrize(
    "header",
    [
        None,
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "I8", "shape": [4], "data_offsets": [-4, 0]}},
        {"a": {"dtype": "I8", "shape": [4]}},
        ["a"],
    ],
)
def test_damaged_tensors_are_refused(header: Any, tmp_path: Path) -> None:
    """Cut off, or with a tensor that its bytes or the file have no room for."""
    encoded = json.dumps(header).encode()
    size = 2**63 if header is None else len(encoded)
    (tmp_path / "t.safetensors").write_bytes(size.to_bytes(8, "little") + encoded + b"\0" * 8)
    with pytest.raises(InputError, match="is no readable safetensors file"):
        map_tensors(tmp_path / "t.safetensors")
    (tmp_path / "t.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is no readable safetensors file"):
        map_tensors(tmp_path / "t.safetensors")


def test_the_constants_of_training() -> None:
    assert hash_ids.SECOND_HASH == lookups.SECOND_HASH
    assert inputs.STANDARDISED_LIMIT == lookups.STANDARDISED_LIMIT
