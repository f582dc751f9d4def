"""Replays: the same luck for all arms, the future of the same log, bounds in their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from configs.errors import InputError
from configs.worlds import RankerKind, load_world
from graph.marketplace.cascade.pre_rankers import RandomPreRanker
from graph.marketplace.replay import Bound, replay
from graph.marketplace.simulate import simulate
from graph.marketplace.world.catalogue import LATER_DAYS


class ByNumber:
    """Passes the items with the lowest numbers."""

    def score(self, observed):
        return -observed.candidates.items.astype(float)

    def learn(self, shown, clicked):
        pass


@pytest.fixture(scope="module")
def world():
    return replace(load_world("tiny"), days=2, warm_up_days=2, ranker=RankerKind.noisy, passed=12, ranked=12, page=4)


@pytest.fixture(scope="module")
def replayed(world):
    arms = {
        "oracle": Bound.oracle,
        "logging": Bound.logging,
        "random": Bound.random,
        "again": lambda seen: RandomPreRanker(0),  # noqa: ARG005
        "numbers": lambda seen: ByNumber(),  # noqa: ARG005
    }
    return replay(world, 0, arms, days=5)


def test_equal_arms_are_equal_to_the_last_click(replayed):
    for name, values in vars(replayed["random"]).items():
        assert (values == getattr(replayed["again"], name)).all(), name


def test_all_arms_meet_the_same_requests(replayed):
    first = replayed["oracle"]
    assert len(np.unique(first.request_id)) == len(first.request_id)
    assert set(first.request_day.tolist()) == set(range(5))
    for log in replayed.values():
        assert (log.request_id == first.request_id).all()
        assert (log.request_user == first.request_user).all()


def test_rows_are_exposed_lists_in_order(replayed):
    for log in replayed.values():
        starts = np.flatnonzero(np.diff(log.request, prepend=-1))
        assert (np.diff(log.request) >= 0).all()
        assert (log.position[starts] == 1).all()
        assert (np.diff(log.position)[np.diff(log.request) == 0] == 1).all()
        assert not (log.ordered & ~log.clicked).any()


def test_the_same_item_in_the_same_place_meets_the_same_luck(world):
    """Two arms that pass nearly everything show much the same; what they show alike is clicked alike."""
    wide = replace(world, passed=86, ranked=86)
    logs = replay(wide, 0, {"oracle": Bound.oracle, "random": Bound.random}, days=1).values()
    shown = [
        {key: clicked for *key_of, clicked in zip(log.request, log.item, log.position, log.clicked, strict=True)
         for key in [tuple(key_of)]}
        for log in logs
    ]  # fmt: skip
    common = shown[0].keys() & shown[1].keys()
    assert len(common) > 150
    clicked = [key for key in common if shown[0][key]]
    assert len(clicked) > 10
    # A user's second request of a day knows the clicks of the first, which may differ.
    assert np.mean([shown[1][key] for key in clicked]) > 0.9


def test_bounds_are_in_their_order(replayed):
    clicks = {name: log.clicked.sum() for name, log in replayed.items()}
    assert clicks["oracle"] > 1.2 * clicks["logging"] > 1.2 * clicks["random"] * 0.9


def test_items_of_later_days_are_for_sale(replayed, world):
    assert max(log.item.max() for log in replayed.values()) >= world.items + 0.9 * world.days * world.new_items_per_day


def test_another_luck_gives_other_clicks_on_the_same_requests(world, replayed):
    arms = {"random": Bound.random, "unlucky": Bound.random}
    made = replay(world, 0, arms, days=1, lucks={"unlucky": 1})
    other = made["unlucky"]
    assert (made["random"].clicked == replayed["random"].clicked[: len(made["random"].clicked)]).all()
    first = replayed["random"]
    requests = len(other.request_id)
    assert (other.request_id == first.request_id[:requests]).all()
    assert other.clicked.sum() > 0
    rows = first.request < requests
    assert not np.array_equal(other.clicked, first.clicked[rows])


def test_longer_replays_than_the_catalogue_are_refused(world):
    with pytest.raises(InputError, match=f"1 to {LATER_DAYS} days"):
        replay(world, 0, {"random": Bound.random}, days=LATER_DAYS + 1)


def test_a_log_of_another_version_is_not_continued(world, tmp_path):
    figures = simulate(world, 0, tmp_path)
    logged = figures["clicks"], figures["orders"]
    assert replay(world, 0, {"random": Bound.random}, days=1, logged=logged)
    with pytest.raises(InputError, match="made by another version"):
        replay(world, 0, {"random": Bound.random}, days=1, logged=(logged[0] + 1, logged[1]))
