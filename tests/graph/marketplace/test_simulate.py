"""The simulated log: the same every time, consistent in itself, and near its stated rates."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from configs.schema import DataConfig
from configs.stages import read_json
from configs.worlds import PreRankerKind, RankerKind, WorldConfig, load_world
from graph.logs.log import SearchLog
from graph.logs.readers.marketplace import read
from graph.marketplace.simulate import simulate

ROOT = Path(__file__).parents[3]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_same_seed_gives_the_same_bytes_in_another_process_with_other_threads(tiny, tmp_path):
    script = (
        "import sys, pathlib, pyarrow; pyarrow.set_cpu_count(1)\n"
        "from configs.worlds import load_world\n"
        "from graph.marketplace.simulate import simulate\n"
        "simulate(load_world('tiny'), 0, pathlib.Path(sys.argv[1]))"
    )
    single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "NUMBA", "OPENBLAS", "MKL")}
    environment = {**os.environ, **single, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=environment, capture_output=True)
    assert digests(tmp_path) == digests(tiny.folder)


def test_another_seed_gives_another_market(tiny, tmp_path):
    simulate(tiny.world, 1, tmp_path)
    mine, other = digests(tiny.folder), digests(tmp_path)
    assert mine.keys() == other.keys()
    assert all(mine[name] != other[name] for name in mine)


def test_no_item_is_logged_before_it_is_listed(tiny):
    joined = tiny.impressions().select(["item_id", "timestamp"]).join(tiny.table("items"), "item_id")
    assert joined.num_rows == tiny.figures["rows"]
    assert pc.all(pc.less_equal(joined["listed_at"], joined["timestamp"])).as_py()
    first = pc.min(tiny.impressions()["timestamp"])
    assert pc.sum(pc.greater(joined["listed_at"], first)).as_py() > 0, "no item born during the log was ever logged"


def test_positions_have_no_gaps_and_fit_the_stages(tiny):
    log = tiny.impressions().to_pandas()
    ranked = log[log.stage.isin(["exposed", "ranked"])]
    assert log[~log.stage.isin(["exposed", "ranked"])].position.isna().all()
    for _, positions in ranked.groupby("request_id").position:
        assert positions.tolist() == list(range(1, len(positions) + 1))
    deepest = ranked[ranked.stage == "exposed"].groupby("request_id").position.max()
    shallowest = ranked[ranked.stage == "ranked"].groupby("request_id").position.min()
    both = deepest.index.intersection(shallowest.index)
    assert (deepest[both] < shallowest[both]).all()
    assert not log.duplicated(["request_id", "item_id"]).any()


def test_only_exposed_items_are_clicked_and_only_clicked_ones_ordered(tiny):
    log = tiny.impressions().to_pandas()
    assert set(log[log.clicked].stage) == {"exposed"}
    assert log[log.ordered].clicked.all()
    assert log.ordered.sum() > 0


def test_rows_lie_in_the_contract_s_order(tiny):
    log = tiny.impressions().to_pandas()
    filled = log.position.fillna(1e9)
    order = np.lexsort((log.item_id, filled, log.request_id, log.timestamp))
    assert (order == np.arange(len(log))).all()


def test_history_is_what_the_user_clicked_strictly_before(tiny):
    """A user's first history comes from the warm-up days, which are not logged; all later ones follow from it."""
    log = tiny.impressions().to_pandas()
    clicked: dict[int, list[int]] = {}
    seen = 0
    for _, rows in log.groupby("request_id", sort=False):
        user = rows.user_id.iloc[0]
        expected = clicked.setdefault(user, list(rows.history.iloc[0]))[: tiny.world.history_length]
        for logged in rows.history:
            assert list(logged) == expected
        seen += bool(expected)
        for item in rows[rows.clicked].sort_values("position").item_id:
            clicked[user] = [item] + [old for old in clicked[user] if old != item]
    assert seen > 100


def test_a_session_is_one_user_s_and_stays_within_its_day(tiny):
    log = tiny.impressions().to_pandas().drop_duplicates("request_id")
    sessions = log.groupby("session_id")
    assert (sessions.user_id.nunique() == 1).all()
    assert (sessions.timestamp.agg(lambda moments: moments.dt.date.nunique()) == 1).all()
    assert sessions.timestamp.agg(lambda moments: moments.is_monotonic_increasing and moments.is_unique).all()
    assert sessions.size().max() > 1


def test_prices_are_the_listed_ones_or_discounted(tiny):
    log = tiny.impressions().select(["item_id", "price"]).to_pandas()
    listed = tiny.table("items").to_pandas().set_index("item_id").price
    ratio = log.price / listed[log.item_id].to_numpy()
    at_discount = np.isclose(ratio, 1 - tiny.world.discount, atol=0.01)
    assert (at_discount | np.isclose(ratio, 1.0)).all()
    assert 0.02 < at_discount.mean() < 0.12


def test_funnel_is_near_the_stated_rates(tiny):
    world, figures = tiny.world, tiny.figures
    log = tiny.impressions().to_pandas()
    assert figures["rows"] == len(log)
    assert 0.8 < figures["requests"] / (world.days * world.requests_per_day) < 1.2
    assert 15_000 < figures["rows"] < 25_000
    assert 0.05 < figures["click_rate"] < 0.12
    assert 0.04 < figures["order_rate"] < 0.16
    per_request = log.groupby(["request_id", "stage"]).size().unstack(fill_value=0)
    assert (per_request["random"] == world.logged_random).all()
    assert abs(per_request["exposed"].mean() / world.browsing_depth - 1) < 0.25
    whole = (log[log.stage == "recalled"].groupby("request_id").propensity.min() == 1.0).mean()
    assert 0.0 < whole < 0.15


def test_propensities_are_the_shares_that_were_drawn(tiny):
    world = tiny.world
    log = tiny.impressions().to_pandas()
    sampled = log[(log.stage == "recalled") & (log.propensity < 1)]
    assert np.allclose(sampled.propensity, world.logged_recalled / (world.recalled - world.passed), rtol=0.05)
    slots = log[(log.stage == "exposed") & log.propensity.notna()]
    assert np.allclose(slots.propensity, 1 / (world.ranked - world.page))
    assert slots.position.max() <= world.page
    assert slots.groupby("request_id").size().max() == 1
    assert log[log.stage == "ranked"].propensity.isna().all()


def test_scores_are_logged_for_ranked_items_and_whole_recalled_sets_only(tiny):
    log = tiny.impressions().to_pandas()
    whole = log[(log.stage == "recalled") & (log.propensity == 1)].request_id.unique()
    scored = log.stage.isin(["exposed", "ranked"]) | (log.request_id.isin(whole) & (log.stage != "random"))
    assert (log.rank_score.notna() == scored).all()


def noisy(world: WorldConfig, quality: float) -> WorldConfig:
    return replace(world, ranker=RankerKind.noisy, ranker_quality=quality)


def test_better_rankers_have_a_better_ndcg(short_world, tmp_path):
    ndcg = {}
    for quality in (0.0, 0.4, 0.8, 1.0):
        figures = simulate(noisy(short_world, quality), 0, tmp_path / str(quality))["ndcg_at_10"]
        ndcg[quality] = figures["ranking_model"]
    assert ndcg[1.0] == pytest.approx(1.0, abs=1e-12)
    assert ndcg[0.0] == pytest.approx(figures["random"], abs=0.05)
    assert list(ndcg.values()) == sorted(ndcg.values())


def test_clicks_fall_with_position_when_the_order_is_random(tmp_path):
    world = replace(noisy(load_world("tiny"), 0.0), position_bias=1.0)
    simulate(world, 0, tmp_path)
    files = sorted((tmp_path / "impressions").glob("day=*/*.parquet"))
    log = pd.concat([pd.read_parquet(file, columns=["stage", "position", "clicked"]) for file in files])
    shown = log[log.stage == "exposed"]
    bands = np.digitize(shown.position.astype(int), [3, 7, 11, 21])
    rates = shown.groupby(bands).clicked.mean().tolist()
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 3 * rates[2]


def test_an_idle_stage_leaves_the_others_alone(short_world, tmp_path):
    """Draws of one purpose do not move those of another: only what is logged changes, not what happened."""
    more: WorldConfig = replace(short_world, logged_random=8, full_recall_share=0.5)
    first, second = (simulate(world, 0, tmp_path / name) for name, world in (("a", short_world), ("b", more)))
    assert first["clicks"] == second["clicks"]
    assert first["orders"] == second["orders"]
    assert second["rows"] > first["rows"]


def test_reader_hands_over_the_contract_s_files(tiny, tmp_path):
    raw = read(DataConfig(name="marketplace", world="tiny"), 0, tmp_path / "raw")
    assert raw.simulated
    assert raw.users is not None
    assert raw.queries is not None
    assert all(path.exists() for path in (raw.impressions, raw.items, raw.users, raw.queries))
    figures = read_json(tmp_path / "world.json")
    assert figures == tiny.figures
    assert figures["simulated"] is True


def test_the_checks_reject_nothing(tiny_log):
    log = SearchLog.open(tiny_log)
    assert log.facts["simulated"]
    assert log.facts["rejected"] == {}
    assert all(task["available"] for task in log.facts["tasks"].values())
    assert (tiny_log / "world.json").exists()


def test_whole_recalled_sets_are_logged_from_the_stated_day_on(short_world, tmp_path):
    world = replace(short_world, full_recall_share=1.0, full_recall_from=1)
    simulate(world, 0, tmp_path)
    files = sorted((tmp_path / "impressions").glob("day=*/*.parquet"))
    recalled = [pd.read_parquet(file).query("stage in ('recalled', 'passed')") for file in files]
    assert recalled[0].groupby("request_id").size().max() <= world.logged_passed + world.logged_recalled
    assert (recalled[1].propensity == 1).all()
    assert recalled[1].groupby("request_id").size().min() > 30


def test_warm_up_days_are_not_logged_but_known(short_world, tmp_path):
    """The first day's pre-ranker and histories are those of a shop that has been open for a while."""
    simulate(short_world, 0, tmp_path / "warm")
    simulate(noisy(replace(short_world, warm_up_days=0), 0.7), 0, tmp_path / "new")
    warm, new = (pd.read_parquet(tmp_path / name / "impressions" / "day=2024-01-01") for name in ("warm", "new"))
    assert len(list((tmp_path / "warm" / "impressions").iterdir())) == short_world.days
    assert warm.request_id.unique().tolist() == new.request_id.unique().tolist()
    first = [frame.groupby("user_id").history.first().map(len).mean() for frame in (warm, new)]
    assert first[1] == 0
    assert first[0] > 1


def test_a_random_pre_ranker_passes_no_item_more_than_another(short_world, tmp_path):
    """With the learning one, what passes agrees with the text; with the random one it does not."""
    gaps = {}
    for kind in PreRankerKind:
        world = replace(noisy(short_world, 0.0), pre_ranker=kind, full_recall_share=1.0)
        simulate(world, 0, tmp_path / kind)
        log = pd.concat([pd.read_parquet(f) for f in (tmp_path / kind / "impressions").glob("day=*/*.parquet")])
        passed = log.stage.isin(["exposed", "ranked", "passed"])
        gaps[kind] = log[passed].text_match.mean() - log[log.stage == "recalled"].text_match.mean()
    assert gaps[PreRankerKind.learning] > 0.1
    assert abs(gaps[PreRankerKind.random]) < 0.02
