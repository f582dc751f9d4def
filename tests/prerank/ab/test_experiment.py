"""The command of the A/B replay: what it refuses, what it writes, what it does not do twice."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from configs.command import parse, run_config, save
from configs.errors import InputError
from configs.stages import read_json
from configs.worlds import load_world
from graph.marketplace.replay import Bound, ReplayLog
from prerank.ab import replays
from prerank.ab.experiment import plans_of, replay_systems
from prerank.ab.replays import AGAIN, OTHER_LUCK, read_replay, segment_rows
from prerank.ab.report import report_of, tables_of
from prerank.encoding.batches import EncodedLog
from prerank.evaluation.uplift import METRICS


@pytest.fixture
def two_runs(market, tmp_path):
    """The market under two names and seeds, linked, not copied; parses a command on them."""
    for seed, name in enumerate(("one", "two")):
        (tmp_path / name / "prerank").mkdir(parents=True)
        for folder in (
            "logs",
            "pretrain",
            *(f"prerank/{each.name}" for each in (market.run.root / "prerank").iterdir()),
        ):
            (tmp_path / name / folder).symlink_to(market.run.root / folder)
        held = run_config(market.run)
        held.seed = seed
        save(held, tmp_path / name / "config.yaml")
    return lambda *overrides: parse([f"runs_folder={tmp_path}", "run=both", "ab.runs=[one,two]", *overrides])


LIGHT = ("ab.control=popularity", "ab.systems=[popularity]")
"""One system that loads in no time, where it does not matter which one it is."""


def made_up_log(item_id, seed, requests=60, each=20):
    """A replay's log without a simulation: 20 users, items drawn evenly, one of ten rows clicked."""
    random = np.random.default_rng(seed)
    item = random.integers(len(item_id), size=requests * each)
    clicked = random.random(len(item)) < 0.4
    return ReplayLog(
        request_id=np.arange(requests),
        request_user=np.arange(requests) % 20 * 3,
        request_day=np.arange(requests) // 30,
        request=np.repeat(np.arange(requests), each),
        item=item,
        item_id=item_id[item],
        position=np.tile(np.arange(1, each + 1), requests),
        clicked=clicked,
        ordered=clicked & (random.random(len(item)) < 0.3),
        price=random.uniform(1, 50, len(item)).astype(np.float32),
    )


class FakeReplay:
    """Its ``calls`` tell what was replayed, ``fail_at`` which seed is interrupted."""

    def __init__(self, item_id):
        self.item_id, self.calls, self.fail_at = item_id, [], None

    def __call__(self, _world, seed, arms, _days, lucks, logged):
        if seed == self.fail_at:
            raise KeyboardInterrupt
        assert logged[0] > logged[1] > 0
        self.calls.append((seed, lucks))
        salts = {name: 0 if name == AGAIN else place for place, name in enumerate(arms)}
        return {name: made_up_log(self.item_id, [seed, salt, lucks.get(name, 0)]) for name, salt in salts.items()}


@pytest.fixture
def fake_replay(market, monkeypatch):
    """Stands in for the simulator."""
    item_id = np.concatenate([EncodedLog.open(market.run.encoded).item_ids.to_numpy(), [1, 2, 3]])

    fake = FakeReplay(item_id)
    monkeypatch.setattr(replays, "replay", fake)
    return fake


def test_a_replay_from_end_to_end(market, monkeypatch):
    request = parse(
        [f"runs_folder={market.config.runs_folder}", "run=market", "ab.days=1", "ab.systems=[grace]", "ab.draws=50"]
    )
    path = replay_systems(request)
    report = json.loads(path.read_text())
    run = report["runs"]["market"]
    assert report["simulated"] is True
    assert run["simulated"] is True
    assert run["control_repeated_itself"] is True
    assert set(run["totals"]) == {"ple", "grace", *(bound.value for bound in Bound), AGAIN, OTHER_LUCK}
    for segment in run["uplift"].values():
        assert set(segment) == set(METRICS)
        assert all(set(arms) == {"grace", "logging", "random", "oracle"} for arms in segment.values())
    exposed = {arm: found["all"]["exposed"] for arm, found in run["totals"].items()}
    assert min(exposed.values()) > 500
    for arm, found in run["totals"].items():
        assert found["cold"]["exposed"] <= found["tail"]["exposed"] <= found["all"]["exposed"], arm
        assert 0 < found["all"]["orders"] <= found["all"]["clicks"] <= exposed[arm]
    assert run["totals"]["oracle"]["all"]["clicks"] > run["totals"]["random"]["all"]["clicks"]
    assert run["totals"][OTHER_LUCK]["all"]["exposed"] == pytest.approx(exposed["ple"], rel=0.05)
    assert run["totals"][OTHER_LUCK]["all"]["gmv"] != run["totals"]["ple"]["all"]["gmv"]
    text = (path.parent / "ab.md").read_text()
    assert all("simulated" in line for line in text.splitlines() if line.startswith("#"))
    monkeypatch.setattr(replays, "replay", None)
    assert replay_systems(request) == path


def test_sums_are_those_of_the_replayed_rows(two_runs, fake_replay):
    chosen = plans_of(two_runs(*LIGHT).config, two_runs().run)[0]
    made = replays.replayed(chosen)
    log = fake_replay(None, 0, {"popularity": None}, 7, {}, (2, 1))["popularity"]
    users = np.unique(log.request_user)
    counts = dict(
        zip(
            EncodedLog.open(chosen.run.encoded).item_ids.to_pylist(),
            EncodedLog.open(chosen.run.encoded).training_counts.impressions.tolist(),
            strict=True,
        )
    )
    for place, user in enumerate(users):
        rows = [row for row in range(len(log.item)) if log.request_user[log.request[row]] == user]
        cold = [row for row in rows if counts.get(int(log.item_id[row]), 0) == 0]
        for segment, chosen_rows in (("all", rows), ("cold", cold)):
            sums = made.sums[chosen.control][segment]
            assert sums.exposed[place] == len(chosen_rows)
            assert sums.orders[place] == sum(log.ordered[row] for row in chosen_rows)
            paid = sum(float(log.price[row]) for row in chosen_rows if log.ordered[row])
            assert sums.gmv[place] == pytest.approx(paid)


@pytest.mark.usefixtures("fake_replay")
def test_what_was_written_is_read_back(two_runs):
    chosen = plans_of(two_runs(*LIGHT).config, two_runs().run)[0]
    made, again = replays.replayed(chosen), read_replay(chosen.stage.folder)
    assert again.facts == made.facts
    for arm, segments in made.sums.items():
        for segment, sums in segments.items():
            for name, values in vars(sums).items():
                np.testing.assert_array_equal(getattr(again.sums[arm][segment], name), values)


def test_the_tail_holds_what_training_hardly_showed(market):
    encoded = EncodedLog.open(market.run.encoded)
    counts = encoded.training_counts.impressions
    log = made_up_log(np.concatenate([encoded.item_ids.to_numpy(), [1]]), 0, each=200)
    cut = segment_rows(encoded, log, 0.5, 0.1)
    of_row = np.append(counts, 0)[log.item]
    assert (cut["cold"][0] == (of_row == 0)).all()
    assert of_row[cut["tail"][0]].max() < of_row[~cut["tail"][0]].min()
    assert cut["tail"][0][cut["cold"][0]].all()
    assert cut["all"][0].all()


@pytest.mark.usefixtures("fake_replay")
def test_worlds_are_told_apart_and_together(two_runs):
    asked = two_runs("ab.draws=50", "ab.systems=[grace]")
    report = read_json(replay_systems(asked))
    assert report["across"]["worlds"] == 2
    for metric in METRICS:
        each = [report["runs"][name]["uplift"]["all"][metric]["grace"] for name in ("one", "two")]
        overall = report["across"]["uplift"]["all"][metric]["grace"]
        assert overall["value"] == pytest.approx(np.mean([figure["value"] for figure in each]))
        assert overall["low"] < overall["value"] < overall["high"]
        assert each[0]["p_holm"] >= each[0]["p"]
        assert "p_holm" not in report["runs"]["one"]["uplift"]["all"][metric]["oracle"]
    replayed = {plan.run.root.name: replays.replayed(plan) for plan in plans_of(asked.config, asked.run)}
    titles = [table.title for table in tables_of(report_of(replayed, asked.config))]
    assert all("simulated" in title for title in titles)
    assert "mean of 2 worlds" in titles[1]


def test_a_killed_command_goes_on_with_the_next_run(two_runs, fake_replay):
    fake_replay.fail_at = 1
    with pytest.raises(KeyboardInterrupt):
        replay_systems(two_runs(*LIGHT, "ab.draws=50"))
    assert [seed for seed, _ in fake_replay.calls] == [0]
    fake_replay.fail_at = None
    replay_systems(two_runs(*LIGHT, "ab.draws=50"))
    assert fake_replay.calls == [(0, {OTHER_LUCK: 1}), (1, {OTHER_LUCK: 1})]


@pytest.mark.parametrize(
    ("override", "again"),
    [("ab.draws=60", False), ("ab.quantile=0.9", False), ("ab.days=3", True), ("evaluation.tail_share=0.2", True)],
)
def test_statistics_need_no_other_replay(market, override, again):
    first, second = (
        plans_of(parse([f"runs_folder={market.config.runs_folder}", "run=market", *more]).config, market.run)[0]
        for more in ([], [override])
    )
    assert (first.stage.identity != second.stage.identity) is again


def test_other_fusion_weights_need_another_replay(market, monkeypatch):
    request = parse([f"runs_folder={market.config.runs_folder}", "run=market"])
    before = plans_of(request.config, market.run)[0].stage.identity
    own = replays.read_json

    def with_other_weights(path):
        return {**own(path), "rank": 99.0} if path.name == "fusion.json" else own(path)

    monkeypatch.setattr(replays, "read_json", with_other_weights)
    assert plans_of(request.config, market.run)[0].stage.identity != before


@pytest.mark.usefixtures("fake_replay")
def test_a_control_that_does_not_repeat_itself_is_told(two_runs, monkeypatch, capsys):
    monkeypatch.setattr(replays, "same", lambda *_: False)
    replay_systems(two_runs(*LIGHT, "ab.draws=50"))
    assert "did not repeat itself" in capsys.readouterr().out


@pytest.mark.usefixtures("fake_replay")
def test_the_production_pre_ranker_may_be_the_control(two_runs):
    report = read_json(replay_systems(two_runs("ab.control=logging", "ab.systems=[popularity]", "ab.draws=50")))
    assert set(report["across"]["uplift"]["all"]["cvr"]) == {"popularity", "random", "oracle"}


def test_systems_that_not_every_run_has_are_left_out_aloud(two_runs, capsys):
    request = two_runs()
    (request.run.root.parent / "two" / "prerank" / "lightgbm").unlink()
    plans = plans_of(request.config, request.run)
    assert [chosen.systems for chosen in plans] == [("ple", "grace", "popularity")] * 2
    assert "lightgbm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["ab.control=din"], "no fitted system din; it has: grace, lightgbm, ple, popularity"),
        (["ab.systems=[grace,gracee]"], "no fitted system gracee"),
        (["ab.runs=[one,three]"], "three is no run"),
        (["ab.runs=[one,one]"], "hold the same marketplace"),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_anything_runs(two_runs, fake_replay, overrides, message):
    with pytest.raises(InputError, match=message):
        replay_systems(two_runs(*overrides))
    assert not fake_replay.calls


def test_a_world_whose_file_has_changed_is_refused(market, monkeypatch):
    monkeypatch.setattr(replays, "load_world", lambda name: dataclasses.replace(load_world(name), click_rate=0.2))
    with pytest.raises(InputError, match="another world"):
        plans_of(market.config, market.run)


def test_a_real_log_is_refused(tmp_path):
    request = parse(["data=contract", f"data.path={tmp_path}", f"runs_folder={tmp_path}", "run=real"])
    save(request.config, request.run.config)
    with pytest.raises(InputError, match="only the simulated marketplace can be replayed"):
        replay_systems(parse([f"runs_folder={tmp_path}", "run=real"]))
