"""COLD: squeeze and excitation against its equation, groups that are dropped, and what is saved by that."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch

from prerank.encoding.batches import SideFeatures
from prerank.encoding.features import encode_log
from prerank.encoding.schema import ListColumn, NumberStatistics, SideSchema
from prerank.network.feature_groups import HASH_ID, FeatureGroups, KeptColumns, SqueezeExcitation, _names, group_names
from prerank.network.hash_id import HashId
from prerank.systems import cold
from prerank.systems.cold import COLD, COLDNetwork, Selection
from prerank.systems.ple import PLE


@pytest.mark.parametrize("rows", [1, 5])
def test_the_block_weighs_each_group_by_what_all_say(rows):
    """s = σ(W[e_1..e_M] + b), v_i = s_i·e_i, a group at a time."""
    group_of = torch.tensor([0, 0, 0, 1, 2, 2, 1])
    block, inputs = SqueezeExcitation(group_of), torch.randn(rows, 7)
    assert block.weights(inputs).unique().tolist() == [0.5]  # all groups start alike
    torch.nn.init.normal_(block.linear.weight)
    torch.nn.init.normal_(block.linear.bias)
    found = block(inputs)
    for row in range(rows):
        for group in range(3):
            s = torch.sigmoid(block.linear.weight[group] @ inputs[row] + block.linear.bias[group])
            torch.testing.assert_close(block.weights(inputs)[row, group], s)
            torch.testing.assert_close(found[row, group_of == group], s * inputs[row, group_of == group])


SPLITS = ("train", "validation", "test")


def changed(batch, name: str):
    """The batch with another value in one column."""
    side, column, kind = name.split("/")
    if name == HASH_ID:
        batch.item_hash += 1
    elif kind == "list":
        batch.sides[side].lists[column] += 12345
    else:
        schema_place = int(column)
        values = batch.sides[side].ids if kind == "id" else batch.sides[side].numbers
        values[:, schema_place] += 1
    return batch


def test_an_element_changes_with_its_own_groups_column_alone(small_encoded_log, work_of):
    model = work_of(small_encoded_log, "cold", "model.item.hash_vocabulary=100000", "model.buckets=20000").config.model
    schema, split = small_encoded_log.schema, small_encoded_log.split("train")
    groups = FeatureGroups(schema, model)
    assert groups.names == group_names(schema, model)
    assert len(set(groups.names)) == len(groups.names)
    before = groups(split.batch(np.arange(30)))
    assert before.shape == (30, groups.width) == (30, len(groups.group_of))
    for place, name in enumerate(groups.names):
        side, column, kind = name.split("/")
        columns = schema.sides.get(side)
        if kind == "id":
            key = f"{side}/{columns.ids.index(column)}/id"
        elif kind == "number":
            key = f"{side}/{[each.name for each in columns.numbers].index(column)}/number"
        else:
            key = name
        after = groups(changed(split.batch(np.arange(30)), key))
        moved = (before != after).any(dim=0)
        assert moved.any(), name
        assert set(groups.group_of[moved].tolist()) == {place}, name


def test_each_of_several_columns_of_a_kind_is_told_apart(small_encoded_log, work_of):
    """Two ids, one of them in a shared table of another length, two lists and three numbers, all kept or some."""
    model = work_of(small_encoded_log, "cold", "model.buckets=20000").config.model
    numbers = tuple(NumberStatistics(name, 0.0, 1.0, (-1.0, 0.0, 1.0), 0.0) for name in ("low", "middle", "high"))
    lists = (ListColumn("words", 2, "words"), ListColumn("history", 2, "item_id"))
    schema = SideSchema(("last", "query"), ("item_id", "query"), numbers, lists)
    shared = {"item_id": HashId(model.item)}
    every = _names("request", schema)
    for kept in (every, every[::2], every[1::2], every[-1:]):
        columns = KeptColumns("request", schema, model, kept, shared)
        assert set(columns.groups) == set(kept)
        for name in kept:
            _, column, kind = name.split("/")
            features = [
                SideFeatures(torch.full((3, 2), 5), torch.full((3, 3), -2.0), dict.fromkeys(("words", "history"), ones))
                for ones in (torch.ones(3, 2, dtype=torch.int64),) * 2
            ]
            if kind == "id":
                features[1].ids[:, schema.ids.index(column)] += 1
            elif kind == "list":
                features[1].lists[column] = torch.full((3, 2), 9)
            else:
                features[1].numbers[:, [each.name for each in numbers].index(column)] += 2.5
            moved = (columns(features[0]) != columns(features[1])).any(dim=0)
            assert [each == name for each in columns.groups] == moved.tolist(), name


def test_kept_groups_see_what_they_saw_among_all(small_encoded_log, work_of):
    """With the tables copied, the smaller encoder gives the very elements of the larger one."""
    model = work_of(small_encoded_log, "cold").config.model
    schema, batch = small_encoded_log.schema, small_encoded_log.split("train").batch(np.arange(20))
    names = group_names(schema, model)
    whole = FeatureGroups(schema, model)
    for kept in (names[:1], names[1:2], names[::2], names[1::2], names):
        part = FeatureGroups(schema, model, kept)
        assert part.names == list(kept)
        for side in ("item", "request", "pair"):
            copy_tables(part.sides[side].encoder, whole.sides[side].encoder, schema.sides[side])
        if part.hash_id is not None:
            part.hash_id.load_state_dict(whole.hash_id.state_dict())
        expected = torch.cat([whole(batch)[:, whole.group_of == names.index(name)] for name in kept], dim=1)
        order = torch.cat([torch.nonzero(part.group_of == place)[:, 0] for place in range(len(kept))])
        torch.testing.assert_close(part(batch)[:, order], expected)


def copy_tables(part, whole, schema) -> None:
    with torch.no_grad():
        if part.table is not None:
            for table, rows in part.table.rows.items():
                start, source = part.table.offsets[table], whole.table.offsets[table]
                part.table.weight[start : start + rows] = whole.table.weight[source : source + rows]
        if part.numbers is not None:
            names = [number.name for number in schema.numbers]
            chosen = [int(torch.nonzero(whole.numbers.mean == mean)[0]) for mean in part.numbers.mean]
            assert len(names) >= len(chosen)
            size = whole.numbers.buckets
            for place, source in enumerate(chosen):
                rows = min(part.numbers.buckets, size)
                start, first = place * part.numbers.buckets, source * size
                part.numbers.weight[start : start + rows] = whole.numbers.weight[first : first + rows]


def test_the_groups_that_cost_most_are_kept(small_encoded_log, work_of):
    work = work_of(small_encoded_log, "cold", "model.cold.groups=3")
    fitted = COLD.fit(work)
    chosen = json.loads((work.folder / "groups.json").read_text())
    names = set(group_names(small_encoded_log.schema, work.config.model))
    assert set(chosen["order"]) == set(chosen["losses"]) == set(chosen["weights"]) == names
    assert chosen["kept"] == chosen["order"][:3]
    assert set(fitted.module.network.groups.names) == set(chosen["kept"])
    assert fitted.module.network.excitation is None
    assert all(0 < weight < 1 for weight in chosen["weights"].values())


def test_groups_are_closed_in_turn_as_a_slow_loop_closes_them(small_encoded_log, work_of):
    """The columns of closed groups overwritten with their means, and every set of closed groups scored anew."""
    work = work_of(small_encoded_log, "cold", "model.dimension=2")
    module = Selection(work).eval()
    torch.nn.init.normal_(module.network.excitation.linear.weight)
    for parameter in module.network.groups.parameters():
        torch.nn.init.normal_(parameter)
    found = cold.close_in_turn(type("Fitted", (), {"module": module})(), work)

    split, group_of = small_encoded_log.split("validation"), module.network.groups.group_of.tolist()
    names, batch = module.network.groups.names, split.batch(np.arange(split.rows))
    rows = module.network.groups(batch).detach().numpy().copy()

    def loss(closed: list[int]) -> float:
        said = rows.copy()
        for place, group in enumerate(group_of):
            if group in closed:
                said[:, place] = rows[:, place].mean()
        outputs = module.network.outputs_of(torch.tensor(said))
        return sum(term.item() for term in module.losses(batch, outputs).values())

    closed: list[int] = []
    expected = {}
    for _ in names:
        after = {group: loss([*closed, group]) for group in range(len(names)) if group not in closed}
        least = min(after, key=after.__getitem__)
        expected[names[least]] = after[least] - loss(closed)
        closed.append(least)
    assert list(found) == list(expected)[::-1]
    assert list(found.values()) == pytest.approx(list(expected.values())[::-1], abs=2e-6)


def planted_log(write, seed: int):
    """Items of 16 columns, four of which decide who clicks; the others, and users and queries, are noise."""
    draw, n_items, n_requests, rows = np.random.default_rng(seed), 400, 400, 12
    utility, columns = np.zeros(n_items), {"item_id": [f"item {number}" for number in range(n_items)]}
    for values in (4, 12, 40):
        chosen, effect = draw.integers(0, values, n_items), draw.normal(size=values)
        columns[f"signal_{values}"] = [f"value {value}" for value in chosen]
        utility += 0.8 * (effect / effect.std())[chosen]
    for values in (2, 4, 12, 40, 100):
        columns[f"noise_{values}"] = [f"value {value}" for value in draw.integers(0, values, n_items)]
    numbers = draw.normal(size=(4, n_items)).astype(np.float32)
    columns |= dict(zip(("signal_number", "noise_a", "noise_b", "noise_c"), numbers, strict=True))
    utility += 0.8 * numbers[0]
    shown = draw.integers(0, n_items, n_requests * rows)
    clicked = draw.random(len(shown)) < 1 / (1 + np.exp(1.5 - utility[shown]))
    request = np.repeat(np.arange(n_requests), rows)
    split = np.array(SPLITS)[np.searchsorted([0.7, 0.85], request / n_requests, side="right")]
    log = [
        {
            "request_id": int(number),
            "user_id": f"user {number % 97}",
            "query": f"query {number % 31}",
            "item_id": columns["item_id"][item],
            "clicked": bool(click),
            "split": str(part),
        }
        for number, item, click, part in zip(request, shown, clicked, split, strict=True)
    ]
    return write(log, pa.table(columns), name=f"planted {seed}")


@pytest.mark.parametrize("seed", range(3))
def test_planted_columns_are_found_among_noise(seed, checked_log, request_for, work_of):
    """Of 15 groups 4 decide; a choice by chance finds all four once in 1,365 logs."""
    encoded = encode_log(request_for("data.cutoffs=[3,5]", run=str(seed)), planted_log(checked_log, seed))
    settings = ["model.item.use_hash_id=false", "model.buckets=500", "model.cold.groups=4", "prerank.max_epochs=3"]
    work = work_of(encoded, "cold", *settings, f"seed={seed}", "prerank.batch_size=128", "model.dimension=16")
    assert len(group_names(encoded.schema, work.config.model)) == 15
    kept = cold.choose_groups(work)["kept"]
    assert {name.split("/")[1] for name in kept} == {"signal_4", "signal_12", "signal_40", "signal_number"}


def test_the_ranking_is_the_same_whatever_the_budget(small_encoded_log, work_of, monkeypatch):
    work = work_of(small_encoded_log, "cold", "model.cold.groups=2")
    few = cold.choose_groups(work)
    monkeypatch.setattr(cold, "rank_groups", lambda _work: pytest.fail("ranked twice"))
    more = cold.choose_groups(work_of(small_encoded_log, "cold", "model.cold.groups=4"))
    assert more["order"] == few["order"]
    assert more["kept"][:2] == few["kept"]


def test_the_weight_of_a_group_is_its_mean_over_validation(small_encoded_log, work_of):
    work = work_of(small_encoded_log, "cold", "model.cold.groups=3")
    module = Selection(work).eval()
    split = small_encoded_log.split("validation")
    with torch.no_grad():
        network = module.network
        rows = [network.excitation.weights(network.groups(split.batch(np.array([r])))) for r in range(split.rows)]
    found = cold.mean_weights(type("Fitted", (), {"module": module})(), work)
    np.testing.assert_allclose(found, torch.cat(rows).mean(dim=0), rtol=1e-4)


def test_a_log_within_the_budget_keeps_all_and_selects_nothing(small_encoded_log, work_of, capsys):
    work = work_of(small_encoded_log, "cold", "model.cold.groups=99")
    fitted = COLD.fit(work)
    assert fitted.module.network.groups.names == group_names(small_encoded_log.schema, work.config.model)
    assert not (work.folder / "selection").exists()
    assert "all within model.cold.groups=99" in capsys.readouterr().out


def test_a_choice_that_was_made_is_not_made_again(small_encoded_log, work_of, monkeypatch):
    work = work_of(small_encoded_log, "cold", "model.cold.groups=3")
    first = COLD.fit(work).predict(small_encoded_log.split("test")).click
    monkeypatch.setattr(cold, "choose_groups", lambda _work: pytest.fail("selected twice"))
    shutil.rmtree(work.folder / "checkpoints")
    again = COLD.fit(work).predict(small_encoded_log.split("test")).click
    np.testing.assert_array_equal(first, again)


def test_fewer_groups_cost_less(small_encoded_log, work_of):
    costs = []
    for groups in (2, 5):
        work = work_of(small_encoded_log, "cold", f"model.cold.groups={groups}", folder=str(groups))
        COLD.fit(work)
        costs.append(json.loads((work.folder / "cost.json").read_text()))
    assert costs[0]["cold"]["flops"] < costs[1]["cold"]["flops"] < costs[1]["all_groups"]["flops"]
    assert costs[0]["all_groups"]["flops"] == costs[1]["all_groups"]["flops"]
    assert [cost["cold"]["groups"] for cost in costs] == [2, 5]
    assert all(each["latency_ms"] > 0 for each in costs[0].values())


def test_with_all_groups_it_is_as_large_as_ple(small_encoded_log, work_of):
    large = ["model.experts.hidden=[128,64]", "model.experts.tower=[64]"]
    ple = PLE(work_of(small_encoded_log, "ple", *large)).network
    config = work_of(small_encoded_log, "cold", *large).config
    network = COLDNetwork(small_encoded_log.schema, config.model, config.pretrain.dimension)
    expected = sum(p.numel() for each in (ple.body, ple.item_network.layers) for p in each.parameters())
    assert sum(p.numel() for p in network.body.parameters()) == pytest.approx(expected, rel=0.01)


def test_an_item_table_that_only_the_history_uses_is_its_own(small_encoded_log, work_of):
    model = work_of(small_encoded_log, "cold").config.model
    names = group_names(small_encoded_log.schema, model)
    assert FeatureGroups(small_encoded_log.schema, model, names[1:]).hash_id is None
    without = work_of(small_encoded_log, "cold", "model.item.use_hash_id=false").config.model
    assert HASH_ID not in group_names(small_encoded_log.schema, without)


def test_a_batch_of_one_trains(small_encoded_log, work_of):
    module = Selection(work_of(small_encoded_log, "cold"))
    for row in range(12):
        batch = small_encoded_log.split("train").batch(np.array([row]))
        assert all(term.isfinite() for term in module.losses(batch, module(batch)).values())


def test_it_overfits_a_tiny_log(small_encoded_log, work_of, overfit):
    work = work_of(small_encoded_log, "cold", "prerank.learning_rate=0.05", "model.cold.groups=99")
    assert overfit(Selection(work), small_encoded_log) > 0.97
    cold.write_json(work.folder / "groups.json", cold.choose_groups(work))
    assert overfit(COLD(work), small_encoded_log) > 0.97


def test_it_is_fitted_and_read_back(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "cold", "model.cold.groups=4"), small_encoded_log.split("test")
    fitted, read = COLD.fit(work), COLD.load(work)
    np.testing.assert_array_equal(fitted.predict(split).click, read.predict(split).click)
    np.testing.assert_array_equal(fitted.predict(split).order, read.predict(split).order)
    assert fitted.item_vectors(small_encoded_log) is None
