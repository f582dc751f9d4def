"""EmbeddingTable: what is saved is what is loaded, and nothing broken is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from configs.errors import InputError
from pretrain.embeddings import EmbeddingTable


def table(ids: list[int] | list[str] | None = None) -> EmbeddingTable:
    ids = [30, 10, 20] if ids is None else ids
    vectors = np.random.default_rng(0).normal(size=(len(ids), 4)).astype(np.float32)
    return EmbeddingTable(pa.array(ids), vectors, catalogue="a" * 64, name="psi")


@pytest.mark.parametrize("ids", [[30, 10, 20], ["c", "a", ""], [7], ["x"]])
def test_round_trip_keeps_order_and_values(tmp_path: Path, ids: list[int] | list[str]) -> None:
    saved = table(ids)
    saved.save(tmp_path / "psi")
    loaded = EmbeddingTable.load(tmp_path / "psi")
    assert loaded.ids.equals(saved.ids)
    assert isinstance(loaded.vectors, np.memmap)
    np.testing.assert_array_equal(loaded.vectors, saved.vectors)
    assert (loaded.catalogue, loaded.name, loaded.dimension, len(loaded)) == ("a" * 64, "psi", 4, len(ids))
    theirs = safetensors.numpy.load_file(tmp_path / "psi" / "vectors.safetensors")["vectors"]
    np.testing.assert_array_equal(theirs, saved.vectors)


def test_rows_of_finds_each_id_and_marks_the_absent() -> None:
    found = table().rows_of(pa.array([10, 99, 30, None, 10]))
    assert found.dtype == np.int64
    assert found.tolist() == [1, -1, 0, -1, 1]
    assert table().rows_of(pa.array([20, 1], pa.int32())).tolist() == [2, -1]
    assert table().rows_of(pa.chunked_array([[10], [20]])).tolist() == [1, 2]
    assert table().rows_of(pa.array([], pa.int64())).tolist() == []


def test_rows_of_refuses_text_for_numbers() -> None:
    with pytest.raises(InputError, match="another log"):
        table().rows_of(pa.array(["10"]))


def test_another_catalogue_is_refused_by_both_names() -> None:
    table().require_catalogue("a" * 64)
    with pytest.raises(InputError, match=r"aaaaaaaaaaaa.*bbbbbbbbbbbb"):
        table().require_catalogue("b" * 64)


@pytest.mark.parametrize(("ids", "message"), [([1, 2, 1], "repeated, e.g. 1"), ([1, None, 3], "null")])
def test_repeated_and_null_ids_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        table(ids)


def test_lengths_must_agree() -> None:
    with pytest.raises(InputError, match="2 ids and 3 vectors"):
        EmbeddingTable(pa.array([1, 2]), np.zeros((3, 2), np.float32), "c", "psi")


def test_vectors_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    broken = table()
    broken.vectors[1, 2] = np.nan
    with pytest.raises(InputError, match=r"first at row 1 \(id 10\)"):
        broken.save(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("name", ["vectors.safetensors", "ids.parquet"])
@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, keep: float) -> None:
    table().save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    with pytest.raises(InputError, match=f"{name} is truncated or corrupt"):
        EmbeddingTable.load(tmp_path)


@pytest.mark.parametrize("name", ["vectors.safetensors", "ids.parquet", "manifest.json"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    table().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        EmbeddingTable.load(tmp_path)


def test_a_missing_folder_and_files_of_another_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        EmbeddingTable.load(tmp_path / "nowhere")
    table().save(tmp_path / "three")
    table([1, 2]).save(tmp_path / "two")
    (tmp_path / "two" / "ids.parquet").replace(tmp_path / "three" / "ids.parquet")
    with pytest.raises(InputError, match=r"says 3 rows of 4, found \[3, 4\].*2 ids"):
        EmbeddingTable.load(tmp_path / "three")


def test_an_empty_table_survives(tmp_path: Path) -> None:
    EmbeddingTable(pa.array([], pa.int64()), np.zeros((0, 8), np.float32), "c", "psi").save(tmp_path)
    assert len(EmbeddingTable.load(tmp_path)) == 0


@pytest.mark.parametrize(
    "ids",
    [
        [30, 10, 20],
        np.array([30, 10, 20], np.int32),
        ["a", "b", "c"],
        np.array(["a", "b", "c"]),
        np.array(["a", "b", "c"], object),
        pa.array(["a", "b", "c"], pa.large_string()),
        pa.array(["a", "b", "c"]).dictionary_encode(),
        pa.chunked_array([[30], [10, 20]]),
    ],
)
@pytest.mark.parametrize("number", [np.float16, np.float64, np.int64, list])
def test_ids_and_vectors_as_people_have_them(tmp_path: Path, ids: Any, number: Any) -> None:
    values = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    made = EmbeddingTable(ids, values if number is list else np.array(values, number), "a" * 64, "mine")
    made.save(tmp_path / "mine")
    loaded = EmbeddingTable.load(tmp_path / "mine")
    assert loaded.vectors.dtype == np.float32
    np.testing.assert_array_equal(loaded.vectors, np.array(values))
    asked = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else list(ids)
    assert loaded.rows_of(asked[::-1]).tolist() == [2, 1, 0]
    assert loaded.rows_of(np.array(asked)).tolist() == [0, 1, 2]
    assert loaded.rows_of([None]).tolist() == [-1]


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1, "b"], np.zeros((2, 2)), "all integers .* or all text"),
        ([1.5, 2.5], np.zeros((2, 2)), "all integers .* or all text, found double"),
        (np.array([[1], [2]]), np.zeros((2, 2)), "all integers .* or all text"),
        ([1, 2], np.zeros(2), r"expected vectors \[items, dimension\] of real numbers, found float64 \[2\]"),
        ([1, 2], [[1.0], [1.0, 2.0]], "expected vectors"),
        ([1, 2], np.array([["a"], ["b"]]), "expected vectors .* found <U1"),
    ],
)
def test_what_is_no_table_is_refused_in_words(ids: Any, vectors: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EmbeddingTable(ids, vectors, "a" * 64, "mine")


@pytest.mark.parametrize("number", [np.float16, np.float64])
def test_vectors_that_another_program_stored_are_read(tmp_path: Path, number: Any) -> None:
    saved = table()
    saved.save(tmp_path / "psi")
    safetensors.numpy.save_file({"vectors": saved.vectors.astype(number)}, tmp_path / "psi" / "vectors.safetensors")
    loaded = EmbeddingTable.load(tmp_path / "psi")
    assert loaded.vectors.dtype == np.float32
    np.testing.assert_array_equal(loaded.vectors, saved.vectors.astype(number).astype(np.float32))


def test_what_is_no_folder_of_a_table_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"vectors\.npy is a file: .*EmbeddingTable\(ids, numpy\.load"):
        EmbeddingTable.load(tmp_path / "vectors.npy")
    table().save(tmp_path / "psi")
    pq.write_table(pa.table({"id": [1, 2, 3]}), tmp_path / "psi" / "ids.parquet")
    with pytest.raises(InputError, match="has no column item_id; it has id"):
        EmbeddingTable.load(tmp_path / "psi")
    safetensors.numpy.save_file({"vectors": np.zeros((3, 4), np.int32)}, tmp_path / "psi" / "vectors.safetensors")
    with pytest.raises(InputError, match="holds vectors of type I32: write them as float32"):
        EmbeddingTable.load(tmp_path / "psi")
