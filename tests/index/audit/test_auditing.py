"""The command: what it writes, and what it says of runs that cannot be audited."""

from __future__ import annotations

import json
import math
import shutil
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from configs.stages import read_json, write_json
from index.audit.auditing import audit
from index.measures.ann import load_index
from pretrain.embeddings import EmbeddingTable

World = Any
"""See conftest.py, which cannot be imported by name."""
ITEMS, IN_P = 400, 300


def every_figure(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict) and {"value", "low", "high", "n"} <= value.keys():
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [figure for child in children for figure in every_figure(child)]


def test_an_audit_writes_indexes_figures_and_the_report(world: World) -> None:
    found = audit(world.request)
    assert read_json(world.run.index / "audit.json") == json.loads(json.dumps(found))
    figures = every_figure(found)
    assert len(figures) > 100
    for figure in figures:
        assert figure["value"] is None or math.isfinite(figure["value"])
        if figure["low"] is not None:
            assert figure["low"] - 1e-9 <= figure["value"] <= figure["high"] + 1e-9
    psi, ids = load_index(world.run.index / "psi.faiss")
    assert (psi.ntotal, len(ids)) == (IN_P, IN_P)
    assert load_index(world.run.index / "phi.faiss")[0].ntotal == ITEMS
    assert (world.run.reports / "embeddings.html").stat().st_size < 5_000_000
    assert found["overlap"]["overlap@5"]["low"] > found["overlap"]["overlap@5_chance"]["value"]
    assert found["purity"]["phi_outside_p"]["category@5"]["n"] == ITEMS - IN_P
    assert "brand_within_category@5_matched" in found["purity"]["psi"]


@pytest.mark.usefixtures("no_cold_start")
def test_phi_equal_to_psi_overlaps_entirely_and_a_shuffled_phi_by_chance(world: World) -> None:
    folder = world.run.system("grace") / "phi"
    phi = EmbeddingTable.load(folder)
    for vectors, expected in ((world.psi, 1.0), (np.random.default_rng(0).permutation(world.psi), 5 / (IN_P - 1))):
        shutil.rmtree(folder)
        EmbeddingTable(phi.ids, vectors, phi.catalogue, "phi").save(folder)
        found = audit(world.request)
        assert found["overlap"]["overlap@5"]["value"] == pytest.approx(expected, abs=0.02)
    collapsed = np.ones_like(world.psi)
    shutil.rmtree(folder)
    EmbeddingTable(phi.ids, collapsed, phi.catalogue, "phi").save(folder)
    assert audit(world.request)["geometry"]["phi"]["effective_rank"]["value"] == 0


@pytest.mark.usefixtures("no_cold_start")
def test_large_k_is_clipped_out_loud(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.request.config.index.neighbours = [5, 1000]
    assert audit(world.request)["neighbours"] == [5, IN_P - 2]
    assert f"clipped to [5, {IN_P - 2}]" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("no_cold_start")
def test_few_queries_are_drawn_out_loud(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.request.config.index.queries = 50
    assert audit(world.request)["overlap"]["overlap@5"]["n"] == 50
    assert "a random 50 of 300" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("no_cold_start")
def test_an_audit_with_other_keys_takes_the_place_of_the_last_and_says_so(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    audit(world.request)
    world.request.config.index.queries = 50
    assert audit(world.request)["overlap"]["overlap@5"]["n"] == 50
    assert "index.queries=20000, asked for 50; the new one takes its place" in " ".join(capsys.readouterr().out.split())
    assert read_json(world.run.index / "audit.json")["overlap"]["overlap@5"]["n"] == 50


def test_a_run_without_phi_says_which_command_makes_it(world: World) -> None:
    shutil.rmtree(world.run.system("grace"))
    with pytest.raises(InputError, match=r"python -m prerank\.fit run=tiny model=grace"):
        audit(world.request)


def test_a_run_without_psi_says_which_command_makes_it(world: World) -> None:
    shutil.rmtree(world.run.pretrain)
    with pytest.raises(InputError, match=r"python -m pretrain\.run run=tiny"):
        audit(world.request)


def test_a_system_without_an_item_network_has_no_phi(world: World) -> None:
    shutil.rmtree(world.run.system("grace") / "phi")
    with pytest.raises(InputError, match="no item network"):
        audit(world.request)


@pytest.mark.parametrize("damaged", ["vectors.safetensors", "ids.parquet", "manifest.json"])
def test_a_damaged_table_is_an_input_error(world: World, damaged: str) -> None:
    path = world.run.psi / damaged
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=damaged.split(".")[0]):
        audit(world.request)


def test_psi_of_another_catalogue_is_refused(world: World) -> None:
    manifest = world.run.psi / "manifest.json"
    write_json(manifest, {**read_json(manifest), "catalogue": "f" * 64})
    with pytest.raises(InputError, match="catalogue"):
        audit(world.request)


def test_psi_with_an_item_that_phi_lacks_is_refused(world: World) -> None:
    folder = world.run.system("grace") / "phi"
    phi = EmbeddingTable.load(folder)
    half = EmbeddingTable(phi.ids.slice(0, 200), np.array(phi.vectors[:200]), phi.catalogue, "phi")
    shutil.rmtree(folder)
    half.save(folder)
    with pytest.raises(InputError, match="items of P"):
        audit(world.request)


@pytest.mark.usefixtures("no_cold_start")
def test_a_log_without_attributes_is_audited_without_purity(world: World) -> None:
    path = world.run.logs / "items.parquet"
    pq.write_table(pq.read_table(path).select(["item_id"]), path)
    found = audit(world.request)
    assert found["main_attribute"] is None
    assert found["purity"] == {"psi": {}, "phi": {}, "phi_outside_p": {}}
    assert "overlap@5_attributes" not in found["overlap"]
