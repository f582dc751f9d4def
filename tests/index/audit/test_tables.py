"""Audits of any two tables: tables whose answer is known, what they share, and what cannot be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import parse
from configs.commands import COMMANDS
from configs.errors import InputError
from configs.stages import read_json
from index.audit import auditing as audit_module
from index.audit.auditing import audit
from index.measures import approximate
from index.report.page import render
from pretrain.embeddings import EmbeddingTable

ITEMS, DIMENSION, K = 600, 8, 10
CHANCE = K / (ITEMS - 1)

Audit = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures, and few timed searches: this is about figures."""
    monkeypatch.setattr(audit_module, "browser_content", lambda *_: {})
    monkeypatch.setattr(audit_module, "write_report", lambda folder, *_: folder / "embeddings.html")
    monkeypatch.setattr(approximate, "TIMED", 3)
    monkeypatch.setattr(approximate, "QUERIES", 50)


def vectors(items: int = ITEMS, dimension: int = DIMENSION, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(items, dimension)).astype(np.float32)


def rotation(dimension: int = DIMENSION) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(9).normal(size=(dimension, dimension)))[0].astype(np.float32)


def save(folder: Path, made: np.ndarray, ids: pa.Array | None = None) -> Path:
    EmbeddingTable(pa.array(range(len(made))) if ids is None else ids, made, "one", folder.name).save(folder)
    return folder


@pytest.fixture
def compare(tmp_path: Path) -> Audit:
    """Audits two arrays as tables."""

    def run(
        a: np.ndarray, b: np.ndarray, *more: str, ids_a: pa.Array | None = None, ids_b: pa.Array | None = None
    ) -> Any:
        save(tmp_path / "a", a, ids_a)
        save(tmp_path / "b", b, ids_b)
        given = [f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}", f"index.output={tmp_path / 'out'}"]
        settings = [f"runs_folder={tmp_path}", "index.neighbours=[10]", "evaluation.draws=50"]
        audit(parse(COMMANDS["index.audit"].spelt_out([*given, *settings, *more])))
        return read_json(tmp_path / "out" / "audit.json")

    return run


def values(found: dict[str, Any]) -> tuple[float, float, float]:
    """Overlap, CKA and Procrustes residual."""
    both = found["geometry"]["both"]
    return (
        found["overlap"]["overlap@10"]["value"],
        both["linear_cka"]["value"],
        both["procrustes_residual"]["value"],
    )


def figures(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict) and {"value", "low", "high", "n"} <= value.keys():
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [figure for child in children for figure in figures(child)]


def require_sound(found: dict[str, Any]) -> None:
    """Every figure is a finite number or says why it is none; the JSON is strict."""
    json.dumps(found, allow_nan=False)
    for figure in figures(found):
        if figure["value"] is None:
            assert figure["reason"]
        else:
            assert math.isfinite(figure["value"])


def test_identical_tables_agree_entirely(compare: Audit) -> None:
    found = compare(vectors(), vectors())
    assert values(found) == pytest.approx((1, 1, 0), abs=1e-6)
    assert found["geometry"]["both"]["alignment"]["value"] < 0.1
    require_sound(found)


def test_rotated_and_scaled_tables_agree_entirely(compare: Audit) -> None:
    found = compare(vectors(), 3 * vectors() @ rotation())
    assert values(found) == pytest.approx((1, 1, 0), abs=2e-3)


def test_shuffled_tables_agree_by_chance(compare: Audit) -> None:
    found = compare(vectors(), np.random.default_rng(1).permutation(vectors()))
    overlap, cka, residual = values(found)
    both = found["geometry"]["both"]
    assert overlap == pytest.approx(CHANCE, abs=0.01)
    assert found["overlap"]["overlap@10_chance"]["value"] == pytest.approx(CHANCE)
    assert cka == pytest.approx(both["linear_cka_chance"]["value"], abs=0.02)
    assert residual == pytest.approx(both["procrustes_residual_chance"]["value"], abs=0.05)
    assert residual > 0.9


def test_half_shuffled_tables_agree_by_a_quarter_and_half(compare: Audit) -> None:
    """Of an unshuffled item's neighbours the unshuffled half stays, so half of the items keep half: a quarter.

    Second moments keep half of their cross-covariance, so CKA is a quarter and the residual 1 − (1/2)².
    """
    first, second = vectors(), vectors()
    half = np.random.default_rng(2).permutation(ITEMS)[: ITEMS // 2]
    second[half] = second[np.roll(half, 1)]
    overlap, cka, residual = values(compare(first, second))
    assert overlap == pytest.approx(0.25, abs=0.04)
    assert cka == pytest.approx(0.25, abs=0.06)
    assert residual == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize("both", [False, True])
def test_collapsed_vectors_have_no_neighbours_and_say_so(compare: Audit, both: bool) -> None:
    one = np.full((ITEMS, DIMENSION), 0.3, dtype=np.float32)
    found = compare(one if both else vectors(), one)
    require_sound(found)
    for name in ("overlap@10", "overlap@10_centred"):
        assert found["overlap"][name]["value"] is None
        assert "are one" in found["overlap"][name]["reason"]
    assert found["geometry"]["both"]["procrustes_residual"]["reason"] == "the vectors do not vary"
    assert found["geometry"]["phi"]["effective_rank"]["value"] == 0
    assert found["geometry"]["phi"]["never_a_neighbour"]["value"] is None
    assert found["geometry"]["phi"]["duplicated"]["value"] == 1
    assert found["approximate"]["phi"]["hnsw@10"]["value"] is None
    assert found["curve"] == []


def test_vectors_on_one_line_break_nothing(compare: Audit) -> None:
    line = np.outer(np.random.default_rng(3).normal(size=ITEMS), np.ones(DIMENSION)).astype(np.float32)
    found = compare(vectors(), line)
    require_sound(found)
    assert found["geometry"]["phi"]["effective_rank"]["value"] == pytest.approx(1, abs=1e-3)
    assert found["overlap"]["overlap@10"]["value"] == pytest.approx(CHANCE, abs=0.02)


def test_duplicates_and_zero_vectors_are_counted(compare: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    made = vectors()
    made[:60] = made[60:120]
    made[120:150] = 0
    found = compare(made, made)
    require_sound(found)
    assert found["geometry"]["psi"]["duplicated"]["value"] == pytest.approx(150 / ITEMS)
    overlap = found["overlap"]["overlap@10"]
    assert (overlap["value"], overlap["n"]) == (pytest.approx(1), ITEMS - 30)
    assert "30 vectors are zero" in " ".join(capsys.readouterr().out.split())


def test_only_shared_items_are_compared_and_the_others_counted(
    compare: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    order = np.random.default_rng(4).permutation(ITEMS)[:500]
    found = compare(vectors()[:550], vectors()[order], ids_b=pa.array(order))
    shared = int((order < 550).sum())
    assert found["items"] == found["queries"] == shared
    assert values(found) == pytest.approx((1, 1, 0), abs=1e-6)
    said = " ".join(capsys.readouterr().out.split())
    assert f"a: {550 - shared} items that the other table lacks are left out" in said
    assert f"b: {500 - shared} items" in said
    assert found["tables"]["a"]["left_out"] == 550 - shared


def test_dimensions_may_differ(compare: Audit) -> None:
    padded = np.pad(vectors(), ((0, 0), (0, 5))) @ rotation(DIMENSION + 5)
    found = compare(vectors(), padded.astype(np.float32))
    assert values(found) == pytest.approx((1, 1, 0), abs=2e-3)
    alignment = found["geometry"]["both"]["alignment"]
    assert alignment["value"] is None
    assert "8" in alignment["reason"]
    assert "13" in alignment["reason"]


def test_purity_needs_items_and_is_measured_with_them(
    compare: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = np.random.default_rng(5).integers(0, 4, ITEMS)
    made = (10 * np.eye(DIMENSION)[group] + 0.1 * vectors()).astype(np.float32)
    without = compare(made, vectors())
    assert without["purity"] == {"psi": {}, "phi": {}, "phi_outside_p": {}}
    assert "no purity" in " ".join(capsys.readouterr().out.split())
    order = np.random.default_rng(6).permutation(ITEMS)[: ITEMS - 20]
    items = pa.table({"item_id": order, "category": [f"c{code}" for code in group[order]]})
    pq.write_table(items, tmp_path / "items.parquet")
    purity = compare(made, vectors(), f"items={tmp_path / 'items.parquet'}")["purity"]
    assert "20 of 600 items are not in" in " ".join(capsys.readouterr().out.split())
    # The items without a row have no category, and equal nothing as neighbours either.
    assert purity["psi"]["category@10"]["value"] == pytest.approx(580 / 600, abs=0.02)
    assert purity["psi"]["category@10"]["n"] == 580
    assert purity["phi"]["category@10"]["value"] == pytest.approx(
        purity["phi"]["category@10_chance"]["value"], abs=0.02
    )
    assert "category@10_matched" not in purity["phi"]


def test_what_tables_cannot_say_is_said(compare: Audit) -> None:
    found = compare(vectors(), vectors())
    assert found["cold_start"] is None
    assert "audit a run" in found["cold_start_reason"]
    assert found["collisions"]["rows"] == []
    assert found["collisions"]["reason"]
    page = render(found, {})
    assert "two tables do not say how often their items were shown" in page
    assert 'by popularity"' not in page
    assert "tenth of popularity, laid out" not in page


def test_ids_of_different_kinds_are_refused(compare: Audit) -> None:
    with pytest.raises(InputError, match=r"text and numbers cannot be matched"):
        compare(vectors(), vectors(), ids_b=pa.array([str(row) for row in range(ITEMS)]))


def test_wider_integers_are_the_same_ids(compare: Audit) -> None:
    found = compare(vectors(), vectors(), ids_b=pa.array(range(ITEMS), pa.int32()))
    assert found["items"] == ITEMS


def test_tables_without_a_shared_item_are_refused(compare: Audit) -> None:
    with pytest.raises(InputError, match=r"share no item: a holds e\.g\. 0, 1, 2, b 600, 601, 602"):
        compare(vectors(), vectors(), ids_b=pa.array(range(ITEMS, 2 * ITEMS)))
    with pytest.raises(InputError, match="share more items"):
        compare(vectors(), vectors(), ids_b=pa.array(range(ITEMS - 2, 2 * ITEMS - 2)))


def test_one_table_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a=FOLDER and b=FOLDER, found only a="):
        audit(parse(COMMANDS["index.audit"].spelt_out([f"a={tmp_path}", f"runs_folder={tmp_path}"])))


def test_vectors_that_are_not_finite_are_refused(compare: Audit, tmp_path: Path) -> None:
    compare(vectors(), vectors())
    path = tmp_path / "b" / "vectors.safetensors"
    content = bytearray(path.read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    given = [f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}", f"index.output={tmp_path}", f"runs_folder={tmp_path}"]
    with pytest.raises(InputError, match=f"item {ITEMS - 1} .* not finite"):
        audit(parse(COMMANDS["index.audit"].spelt_out(given)))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (pa.table({"id": [1]}), "no column item_id; it has id"),
        (pa.table({"item_id": [1, 1]}), "repeated"),
        (pa.table({"item_id": ["1"]}), "text and numbers"),
        (pa.table({"item_id": [-5]}), "holds none of the 600 items"),
        (b"not parquet", "not a readable Parquet"),
        (None, "does not exist"),
    ],
)
def test_items_that_do_not_fit_are_refused(compare: Audit, tmp_path: Path, items: Any, message: str) -> None:
    path = tmp_path / "items.parquet"
    if isinstance(items, bytes):
        path.write_bytes(items)
    elif items is not None:
        pq.write_table(items, path)
    with pytest.raises(InputError, match=message):
        compare(vectors(), vectors(), f"items={path}")


def test_where_the_audit_of_tables_goes(tmp_path: Path) -> None:
    named = parse(["run=mine", f"runs_folder={tmp_path}"])
    assert audit_module.output_of(named) == tmp_path / "mine" / "index" / "tables"
    assert audit_module.output_of(parse([f"runs_folder={tmp_path}"])) == Path("audit_of_tables")
    assert audit_module.output_of(parse(["run=mine", "index.output=there"])) == Path("there")


def test_short_keys_are_spelt_out() -> None:
    assert COMMANDS["index.audit"].spelt_out(["a=x", "items=y=z", "run=a", "--config", "a.yaml"]) == [
        "index.a=x",
        "index.items=y=z",
        "run=a",
        "--config",
        "a.yaml",
    ]
