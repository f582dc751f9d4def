"""The hold-out protocol: who is held out, what known placements give, and what a second run does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from index.audit.auditing import hold_out_and_learn
from index.measures import cold_start as module
from index.measures.ann import normalised
from index.measures.cold_start import Placement, compare, hold_out
from index.measures.figures import Bootstrap
from index.measures.neighbourhoods import popularity_strata
from index.measures.sources import open_sources, rows_to_audit, subject_of

World = Any
"""See conftest.py, which cannot be imported by name."""
BOOTSTRAP = Bootstrap(draws=40, confidence=0.95, seed=0)


def test_the_same_share_of_every_popularity_is_held_out() -> None:
    impressions = np.random.default_rng(0).zipf(1.4, 5000)
    held, kept = hold_out(impressions, 0.1, seed=0)
    assert sorted([*held, *kept]) == list(range(5000))
    strata = popularity_strata(impressions)
    shares = np.bincount(strata[held]) / np.bincount(strata)
    np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_hold_out_depends_on_the_seed_only() -> None:
    impressions = np.arange(100)
    assert hold_out(impressions, 0.2, 0)[0].tolist() == hold_out(impressions, 0.2, 0)[0].tolist()
    assert hold_out(impressions, 0.2, 0)[0].tolist() != hold_out(impressions, 0.2, 1)[0].tolist()


def test_at_least_one_item_is_held_out_and_a_senseless_share_is_refused() -> None:
    assert len(hold_out(np.arange(5), 0.0001, 0)[0]) == 1
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(InputError, match="between 0 and 1"):
            hold_out(np.arange(5), share, 0)


def placed(seed: int, items: int = 400) -> Placement:
    units = normalised(np.random.default_rng(seed).normal(size=(items, 10)).astype(np.float32))
    return Placement(units[:100], units[100:])


def test_a_rotated_truth_is_found_entirely_and_noise_by_chance() -> None:
    truth = placed(0)
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(10, 10)))[0].astype(np.float32)
    rotated = Placement(truth.held @ rotation, truth.kept @ rotation)
    found = compare({"student_infonce": rotated, "noise": placed(1)}, truth, [10], BOOTSTRAP)
    assert found["student_infonce/overlap@10"].value == 1
    assert found["student_infonce/cosine"].value == pytest.approx(1, abs=1e-5)
    assert found["noise/overlap@10"].value == pytest.approx(10 / 300, abs=0.02)
    assert found["noise/cosine"].value == pytest.approx(found["noise/cosine_chance"].value, abs=0.1)
    assert found["overlap@10_chance"].value == 10 / 300
    gap = found["student_infonce_minus_noise/overlap@10"]
    assert gap.value == pytest.approx(1 - found["noise/overlap@10"].value)


def learn(world: World) -> dict[str, Any]:
    sources = open_sources(world.request)
    items, outside = rows_to_audit(sources)
    return hold_out_and_learn(sources, subject_of(sources, items, outside), items)


def test_the_protocol_end_to_end(world: World) -> None:
    found = learn(world)
    figures = found["figures"]
    assert 28 <= found["held_out"] <= 32
    assert found["held_out"] + found["kept"] == 300
    # ψ_train is a rotation of ψ_full on the kept items, so that training ψ twice loses nothing.
    assert figures["retrained_psi/overlap@5"]["value"] == 1
    chance = figures["overlap@5_chance"]["value"]
    assert figures["attribute_mean/overlap@5"]["low"] > 3 * chance
    assert figures["student_attributes_only/overlap@5"]["low"] > chance
    assert figures["student_hash_only/overlap@5"]["high"] < 0.2
    for method in ("student_infonce", "student_mse", "graph_induction"):
        assert 0 <= figures[f"{method}/overlap@20"]["low"] <= figures[f"{method}/overlap@20"]["high"] <= 1


def test_a_finished_protocol_is_read_and_an_interrupted_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[str] = []
    whole = module.train_student

    def interrupted(student: Any, *rest: Any) -> Any:
        if len(taught) == 2:
            raise KeyboardInterrupt
        taught.append(student.name)
        return whole(student, *rest)

    def counted(student: Any, *rest: Any) -> Any:
        taught.append(student.name)
        return whole(student, *rest)

    monkeypatch.setattr(module, "train_student", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn(world)
    first, taught[:] = list(taught), []
    monkeypatch.setattr(module, "train_student", counted)
    found = learn(world)
    assert len(first) == len(taught) == 2
    assert not set(first) & set(taught)
    taught.clear()
    assert learn(world) == found
    assert taught == []
    world.request.config.index.hold_out = 0.2
    assert 58 <= learn(world)["held_out"] <= 62


def test_without_attributes_there_is_no_attribute_mean(world: World) -> None:
    path = world.run.logs / "items.parquet"
    pq.write_table(pq.read_table(path).select(["item_id"]), path)
    assert "attribute_mean/overlap@5" not in learn(world)["figures"]
