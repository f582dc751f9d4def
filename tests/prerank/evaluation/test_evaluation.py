"""metrics.json: names, rows that count, switched-off tasks, intervals, strict JSON, paired differences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import InputError
from configs.schema import EvaluationConfig, Hashing, ItemNetworkConfig
from graph.figure import Figure
from prerank.encoding.batches import EncodedLog
from prerank.evaluation.definitions import define
from prerank.evaluation.evaluation import (
    measured_with,
    metrics_as_json,
    paired_difference,
    read_evaluation,
    read_metrics,
)
from prerank.evaluation.measures import split_rows
from prerank.evaluation.measuring import EvaluationContext, evaluate_predictions, evaluation_context
from prerank.evaluation.metrics import RankedLists, auc, gauc, hit_rate_at_k, log_loss, recall_at_k, standing
from prerank.evaluation.segments import SegmentSources

ITEMS = 40
SETTINGS = EvaluationConfig(recall_at=[3, 5, 20], draws=100)


def sources(**changes: Any) -> SegmentSources:
    """Item i has about 60 / (i + 1) training impressions; the last ten have none."""
    seen = np.floor(60 / np.arange(1, ITEMS + 1)).astype(np.int64)
    seen[-10:] = 0
    made = SegmentSources(
        training_impressions=seen,
        in_p=seen >= 4,
        bucket_load=np.where(np.arange(ITEMS) < 4, 2, 1),
        training_queries=pa.array(["red"] * 50 + ["blue"] * 5 + ["teal"]),
    )
    return replace(made, **changes)


def context(**changes: Any) -> EvaluationContext:
    return replace(EvaluationContext(sources(), [3, 5], SETTINGS, seed=0), **changes)


def predictions(
    split: str = "test", requests: int = 40, length: int = 8, seed: int = 0, noise: int = 0, random_rows: int = 0
) -> pa.Table:
    """Lists of ``length`` ranked items; the last ``random_rows`` of each are catalogue-random negatives."""
    rng = np.random.default_rng(seed)
    rows = requests * length
    item = np.concatenate([rng.permutation(ITEMS)[:length] for _ in range(requests)]).astype(np.int32)
    request = np.repeat(np.arange(requests), length)
    place = np.tile(np.arange(length), requests)
    is_random = place >= length - random_rows
    utility = rng.standard_normal(rows) - 2.0 * is_random
    position = np.full(rows, np.inf, dtype=np.float32)
    ranked = np.flatnonzero(~is_random)
    by_rank = ranked[np.lexsort((-utility[ranked], request[ranked]))]
    position[by_rank] = np.tile(np.arange(1, length - random_rows + 1), requests)
    clicked = ~is_random & (rng.random(rows) < 1 / (1 + np.exp(1 - 1.5 * utility)))
    score = (utility + np.random.default_rng([seed, noise]).standard_normal(rows)).astype(np.float32)
    probability = (1 / (1 + np.exp(-score))).astype(np.float32)
    return pa.table(
        {
            "split": pa.array([split] * rows),
            "request": request.astype(np.int32),
            "request_id": pa.array([f"r{number}" for number in request]),
            "user_id": request // 4,
            "session_id": pa.array([f"s{number // 2}" for number in request]),
            "query": pa.array([("red", "blue", "teal", "new")[number % 4] for number in request]),
            "item_id": item + 100,
            "item": item,
            "stage": pa.array(np.where(is_random, "random", "exposed")).dictionary_encode(),
            "position": position,
            "clicked": clicked,
            "ordered": clicked & (rng.random(rows) < 0.5),
            "p_click": probability,
            "p_order": probability / 2,
            "p_rank": probability,
            "score": score,
        }
    )


def replaced(table: pa.Table, **columns: Any) -> pa.Table:
    """A copy with other values in some columns."""
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def columns(table, *names):
    return [table[name].to_numpy() for name in names]


def test_every_metric_is_measured_on_its_own_rows():
    table = predictions(random_rows=2)
    found = evaluate_predictions(table, context()).metrics["test"]["all"]
    clicked, ordered, score, probability, position, request = columns(
        table, "clicked", "ordered", "score", "p_click", "position", "request"
    )
    exposed = np.isfinite(position)
    expected = {
        "auc_click": auc(clicked[exposed], probability[exposed]),
        "auc_click_with_random": auc(clicked, probability),
        "auc_order": auc(ordered[exposed], probability[exposed]),
        "auc_top3": auc(position[exposed] <= 3, probability[exposed]),
        "auc_top3_with_random": auc(position <= 3, probability),
        "score_auc_click": auc(clicked[exposed], score[exposed]),
        "gauc_click": gauc(clicked[exposed], score[exposed], request[exposed]),
        "gauc_order": gauc(ordered[exposed], score[exposed], request[exposed]),
        "recall_at_3": recall_at_k(request, RankedLists.of(exposed, request, -position, score), 3)[0].mean,
        "recall_at_3_chance": 0.5,
        "hit_rate_order_at_3": hit_rate_at_k(
            request[exposed], standing(request[exposed], score[exposed]), ordered[exposed], 3
        ).mean,
        "log_loss_click": log_loss(clicked[exposed], probability[exposed]),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value), name
    assert found["auc_click"].n == 240
    assert found["auc_click_with_random"].n == 320
    assert found["recall_at_3"].n == 40
    assert all(define(name) for name in found)


def test_an_item_segment_counts_its_own_rows_only():
    table = predictions()
    evaluation = evaluate_predictions(table, context())
    found = evaluation.metrics["test"]["tail"]
    item, clicked, score, probability, position, request = columns(
        table, "item", "clicked", "score", "p_click", "position", "request"
    )
    tail = evaluation.protocol["splits"]["test"]["segments"]["tail"]
    seen = sources().training_impressions[item]
    rows = (seen > 0) & (seen <= 2)
    assert tail["rows"] == rows.sum()
    assert found["auc_click"].value == pytest.approx(auc(clicked[rows], probability[rows]))
    assert found["gauc_click"].value == pytest.approx(gauc(clicked[rows], score[rows], request[rows]))
    shares = []
    for one in range(40):
        place = np.flatnonzero(request == one)
        first = set(place[np.argsort(-score[place])][:3])
        wanted = [row for row in place if rows[row] and position[row] <= 3]
        if wanted:
            shares.append(np.mean([row in first for row in wanted]))
    assert found["recall_at_3"].value == pytest.approx(np.mean(shares))
    assert found["recall_at_3"].n == len(shares)


def test_a_value_lies_in_its_interval_and_the_json_is_strict():
    evaluation = evaluate_predictions(pa.concat_tables([predictions("validation", 12), predictions()]), context())
    text = json.dumps([metrics_as_json(evaluation.metrics), evaluation.protocol], allow_nan=False)
    assert set(json.loads(text)[0]) == {"validation", "test"}
    cells = [cell for split in evaluation.metrics.values() for found in split.values() for cell in found.values()]
    assert any(cell.low is not None for cell in cells)
    for cell in cells:
        assert {"value", "low", "high", "n"} <= set(cell.as_json())
        if cell.low is None:
            assert cell.reason
        else:
            assert cell.low <= cell.value <= cell.high
    assert evaluation.draws.shape == (len(evaluation.protocol["bootstrap"]), SETTINGS.draws)


def test_k_that_no_list_can_tell_is_left_out_and_said():
    facts = evaluate_predictions(predictions(), context()).protocol["splits"]["test"]
    assert facts["recall_at"] == [3, 5]
    assert facts["recall_left_out"] == [20]
    recalled = replaced(predictions(), stage=["recalled"] * 320)
    found = evaluate_predictions(recalled, context())
    assert found.metrics["test"]["all"]["auc_click"].reason == "no row was exposed"


def test_recall_on_whole_recalled_sets_agrees_with_a_loop():
    """Requests 0-9 are logged whole; 10-19 hold an unscored recalled row, the others none that was only recalled."""
    made = predictions()
    rng = np.random.default_rng(5)
    rank_score = rng.normal(size=320).astype(np.float32)
    stage = np.array(["exposed"] * 320, dtype=object)
    place, request = np.tile(np.arange(8), 40), np.repeat(np.arange(40), 8)
    stage[(place >= 5) & (request < 20)] = "recalled"
    position = np.where(place < 5, place + 1.0, np.nan)
    rank_score[(place == 7) & (request >= 10) & (request < 20)] = np.nan
    table = replaced(made, stage=stage.tolist(), position=position.astype(np.float32))
    table = table.append_column("rank_score", pa.array(rank_score))
    evaluation = evaluate_predictions(table, context())
    found, score = evaluation.metrics["test"]["all"], table["score"].to_numpy()
    assert evaluation.protocol["splits"]["test"]["whole_recalled_sets"] == 10
    shares = []
    for one in range(10):
        rows = np.flatnonzero(request == one)
        best = rows[np.argsort(-rank_score[rows])][:3]
        shares.append(np.isin(best, rows[np.argsort(-score[rows])][:3]).mean())
    assert found["recall_full_at_3"].value == pytest.approx(np.mean(shares))
    assert found["recall_full_at_3"].n == 10
    assert found["recall_full_at_3_chance"].value == pytest.approx(3 / 8)
    assert found["recall_at_3"].n == 40
    assert all(define(name) for name in found)


def test_a_single_class_task_is_undefined_and_warned_about(capsys):
    table = replaced(predictions(), ordered=np.zeros(320, dtype=bool))
    found = evaluate_predictions(table, context()).metrics["test"]["all"]
    assert found["auc_order"] == Figure.undefined("one class only: 0 positives among 320 rows", 320)
    assert found["gauc_order"].reason == "no request has both classes"
    assert "auc_order is undefined" in capsys.readouterr().out


def test_tasks_that_are_off_have_reasons_and_no_values(capsys):
    off = {"order": "no order in the log", "rank": "no positions in the log"}
    table = replaced(predictions(), position=np.full(320, np.nan, dtype=np.float32))
    found = evaluate_predictions(table, context(tasks_off=off, cutoffs=[3])).metrics["test"]["all"]
    for name in ("auc_order", "gauc_order", "log_loss_order", "score_auc_order", "hit_rate_order_at_3"):
        assert found[name].reason == off["order"]
    for name in ("auc_top3", "recall_at_3", "recall_at_3_chance"):
        assert found[name].reason == off["rank"]
    assert found["auc_click"].value is not None
    assert "task order is off: no order in the log" in capsys.readouterr().out


def test_a_head_that_a_system_lacks_and_one_head_for_each_k():
    table = replaced(predictions(), p_rank=pa.nulls(320, pa.float32()))
    found = evaluate_predictions(table, context()).metrics["test"]["all"]
    assert found["auc_top3"].reason == "the system has no rank head"
    position = table["position"].to_numpy()
    own = table.append_column("p_top3", pa.array(-position))
    assert evaluate_predictions(own, context()).metrics["test"]["all"]["auc_top3"].value == 1.0


def test_an_empty_segment_is_undefined():
    table = replaced(predictions(), item=np.zeros(320, dtype=np.int32))
    cold = evaluate_predictions(table, context()).metrics["test"]["cold"]
    assert all(cell.value is None and cell.n == 0 for cell in cold.values())


def test_whole_sessions_are_drawn_else_users_else_requests():
    table = predictions()
    rows = split_rows(table)
    assert (rows.cluster_unit, rows.clusters) == ("session_id", 20)
    assert split_rows(table.drop_columns("session_id")).clusters == 10
    one_user = replaced(table.drop_columns("session_id"), user_id=np.zeros(320, dtype=int))
    assert (split_rows(one_user).cluster_unit, split_rows(one_user).clusters) == ("request", 40)
    unknown = replaced(table, session_id=pa.array([None if n < 8 else f"s{n // 16}" for n in range(320)]))
    assert split_rows(unknown).clusters == 21  # the request without a session stands for itself


def test_a_score_that_is_not_finite_is_an_error_that_names_the_row():
    score = predictions()["score"].to_numpy().copy()
    score[9] = np.nan
    with pytest.raises(InputError, match=r"column score.*1 of 320.*'r1'"):
        evaluate_predictions(replaced(predictions(), score=score), context())
    with pytest.raises(InputError, match=r"missing.*stage"):
        evaluate_predictions(predictions().drop_columns("stage"), context())
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate_predictions(predictions("train"), context())


def test_an_interrupted_writing_leaves_the_figures_of_before(tmp_path, monkeypatch):
    first = evaluate_predictions(predictions(), replace(context(), made_with={"draws": 1}))
    first.write(tmp_path)
    assert measured_with(tmp_path) == {"draws": 1}
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("configs.stages.Path.write_text", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        evaluate_predictions(predictions(), replace(context(), made_with={"draws": 2})).write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", ["[]", "{", "null"])
def test_figures_that_cannot_be_read_are_of_no_settings(tmp_path, content):
    evaluate_predictions(predictions(), context()).write(tmp_path)
    (tmp_path / "evaluation.json").write_text(content)
    assert measured_with(tmp_path) is None


def test_what_was_written_is_read_back(tmp_path):
    evaluation = evaluate_predictions(predictions(), context())
    evaluation.write(tmp_path)
    again = read_evaluation(tmp_path)
    assert again.metrics == evaluation.metrics
    assert again.protocol == evaluation.protocol
    np.testing.assert_array_equal(again.draws, evaluation.draws)
    (tmp_path / "bootstrap.npy").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"bootstrap\.npy"):
        read_evaluation(tmp_path)


def test_figures_know_their_unit_and_chance_level_also_from_files_that_do_not(tmp_path):
    evaluation = evaluate_predictions(predictions(), context())
    cells = evaluation.metrics["test"]["all"]
    assert (cells["auc_click"].chance, cells["gauc_order"].chance) == (0.5, 0.5)
    assert cells["recall_at_3"].chance == cells["recall_at_3_chance"].value == pytest.approx(3 / 8)
    assert (cells["log_loss_click"].chance, cells["log_loss_click"].unit) == (None, "nats")
    assert (cells["hit_rate_order_at_3"].chance, cells["recall_at_3_chance"].chance) == (None, None)
    evaluation.write(tmp_path)
    path = tmp_path / "metrics.json"
    content = json.loads(path.read_text())
    assert content == metrics_as_json(evaluation.metrics)
    for segments in content.values():
        for written in segments.values():
            for cell in written.values():
                cell.pop("unit", None)
                cell.pop("chance", None)
    path.write_text(json.dumps(content))
    assert read_metrics(path) == evaluation.metrics


@pytest.mark.parametrize("content", ["[]", "3", '{"test": {"all": {"auc_click": {"value": 1}}}}', '{"test": 3}'])
def test_metrics_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(InputError, match="holds no figures of an evaluation"):
        read_metrics(tmp_path / "metrics.json")


def measured(table, **changes):
    return evaluate_predictions(table, context(**changes))


def test_paired_difference_is_null_for_a_system_against_itself():
    found = paired_difference(measured(predictions()), measured(predictions()), "gauc_click")
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert found.n > 0


def test_paired_difference_finds_the_better_system():
    better = measured(replaced(predictions(), score=predictions()["position"].to_numpy() * -1.0))
    for metric in ("recall_at_3", "gauc_click", "score_auc_click"):
        found = paired_difference(better, measured(predictions()), metric)
        values = [each.metrics["test"]["all"][metric].value for each in (better, measured(predictions()))]
        assert found.value == values[0] - values[1]
        assert found.low > 0, metric
        assert found.p < 0.05
        assert found.visible > 0


def test_paired_difference_refuses_other_rows_other_draws_and_unknown_names():
    ours = measured(predictions())
    with pytest.raises(InputError, match="same rows"):
        paired_difference(ours, measured(predictions(requests=39)), "gauc_click")
    with pytest.raises(InputError, match="same rows"):
        paired_difference(ours, measured(predictions(), seed=1), "gauc_click")
    with pytest.raises(InputError, match="same rows"):
        paired_difference(ours, ours, "gauc_click", "validation")
    with pytest.raises(InputError, match=r"no gauc_clik of all on test; metrics: .*gauc_click"):
        paired_difference(ours, ours, "gauc_clik")
    with pytest.raises(InputError, match="no gauc_click of heads"):
        paired_difference(ours, ours, "gauc_click", segment="heads")


def test_a_paired_difference_of_what_one_system_cannot_have_says_why():
    ours = measured(predictions())
    without = measured(replaced(predictions(), p_rank=np.full(320, None)))
    found = paired_difference(ours, without, "auc_top3")
    assert (found.value, found.p) == (None, None)
    assert found.reason


def test_the_context_of_a_run_comes_from_its_encoded_training_split():
    training = pa.table({"query": ["red", "red", "blue"]})
    encoded = Mock(spec=EncodedLog)
    encoded.training_counts = SimpleNamespace(impressions=np.array([5, 0, 1]))
    encoded.items = SimpleNamespace(item_hash=np.array([4, -6, 3]))
    encoded.split = lambda name: SimpleNamespace(requests={"train": training}[name])
    encoded.folder = Path("no encoding that goes on from another")
    encoded.training_queries = EncodedLog.training_queries.fget(encoded)
    order = {"available": False, "reason": "no orders"}
    encoded.schema = SimpleNamespace(cutoffs=(3, 5), tasks={"click": {"available": True, "reason": ""}, "order": order})
    found = evaluation_context(encoded, replace(SETTINGS, seed=7), in_p=None, item=ItemNetworkConfig(hash_vocabulary=5))
    assert found.tasks_off == {"order": "no orders"}
    assert found.sources.bucket_load.tolist() == [2, 2, 1]  # -6 and 4 share bucket 4 of 5
    assert found.sources.training_queries.to_pylist() == ["red", "red", "blue"]
    assert (found.seed, found.cutoffs) == (7, (3, 5))


def test_items_collide_only_where_their_whole_hashed_ids_are_the_same():
    """Quotient and remainder by 3: 0 and 9 agree in both, 0 and 6 in the remainder alone (and modulo 6)."""
    encoded = Mock(spec=EncodedLog)
    encoded.training_counts = SimpleNamespace(impressions=np.array([5, 0, 1]))
    encoded.items = SimpleNamespace(item_hash=np.array([0, 9, 6]))
    encoded.split = lambda _: SimpleNamespace(requests=pa.table({"query": ["red"]}))
    encoded.schema = SimpleNamespace(cutoffs=(), tasks={})
    item = ItemNetworkConfig(hash_vocabulary=6, hashing=Hashing.quotient_remainder)
    context = evaluation_context(encoded, SETTINGS, in_p=None, item=item)
    assert context.sources.bucket_load.tolist() == [2, 2, 1]
    without = evaluation_context(encoded, SETTINGS, in_p=None, item=replace(item, use_hash_id=False))
    assert without.sources.bucket_load is None
