"""DIN: attention over the request's earlier items, row by row; without a history it is PLE."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from configs.errors import InputError
from graph.neural.attention import TargetAttention
from prerank.encoding.features import encode_log
from prerank.network.history import gather_requests
from prerank.systems.din import DIN
from prerank.systems.ple import PLE

FEATURES = (
    "data.features=[{column: brand, kind: id, side: item}, {column: query, kind: id, side: request}, "
    "{column: history, kind: list, side: request, table: item_id}]"
)


@pytest.fixture
def history_log(checked_log, request_for):
    """Every request has touched up to four items before; what it clicks is the one of them that it is shown."""
    draw = np.random.default_rng(0)
    items = pa.table({"item_id": [f"i{n}" for n in range(20)], "brand": [f"b{n % 3}" for n in range(20)]})
    rows = []
    for number, split in enumerate(["train"] * 60 + ["validation"] * 8 + ["test"] * 8):
        shown = draw.choice(20, 5, replace=False)
        others = [item for item in range(20) if item not in shown]
        touched = [] if number % 10 == 9 else [shown[0], *draw.choice(others, number % 4, replace=False)]
        for place, item in enumerate(draw.permutation(shown)):
            clicked = bool(item in touched)
            rows.append(
                {
                    "request_id": number,
                    "item_id": f"i{item}",
                    "position": place + 1,
                    "clicked": clicked,
                    "ordered": clicked and number % 2 == 0,
                    "history": [f"i{each}" for each in touched],
                    "split": split,
                }
            )
    return encode_log(request_for(FEATURES, "data.cutoffs=[3]"), checked_log(rows, items))


def test_rows_are_gathered_by_request():
    request = torch.tensor([7, 3, 7, 7, 9, 3])
    first, group, slot = gather_requests(request)
    assert request[first].tolist() == [3, 7, 9]
    assert request[first][group].tolist() == request.tolist()
    assert sorted(zip(group.tolist(), slot.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0)]
    first, group, slot = gather_requests(torch.tensor([], dtype=torch.long))
    assert len(first) == len(group) == len(slot) == 0


@pytest.mark.parametrize("rows", [[0], [3, 1, 2], list(range(45, 70)), [200, 4, 199, 5]])
def test_the_attention_is_the_papers_row_by_row(history_log, work_of, rows):
    module = DIN(work_of(history_log, "din"))
    network, batch = module.network, history_log.split("train").batch(np.array(rows))
    layer = network.pooling
    assert isinstance(layer, TargetAttention)
    torch.nn.init.normal_(network.item_network.hash_id.table.weight)
    found = network.pool(network.histories_of(batch), network.hash_id(batch.item_hash))
    for row in range(len(rows)):
        v = network.item_network.hash_id(batch.item_hash[row : row + 1])[0]
        pooled = torch.zeros_like(v)
        for item in batch.sides["request"].lists["history"][row]:
            if item != 0:
                h = network.item_network.hash_id(item.reshape(1))[0]
                pooled += layer.second(torch.relu(layer.first(torch.cat([h, v, h - v, h * v])))) * h
        torch.testing.assert_close(found[row], pooled)
    ple = PLE(work_of(history_log, "ple")).network
    parts = [
        network.item_network(batch.item_hash, batch.sides["item"]),
        *ple.request_side(batch.sides["request"]),
        *ple.pair_side(batch.sides["pair"]),
    ]
    assert network.body.levels[0].experts.layers[0].weight.shape[1] == sum(each.shape[1] for each in parts) + 32


@pytest.mark.parametrize("pooling", ["attention", "sdim"])
def test_it_overfits_and_sees_that_a_candidate_was_touched_before(history_log, work_of, overfit, pooling):
    work = work_of(history_log, "din", f"model.din.pooling={pooling}", "prerank.learning_rate=0.05")
    assert overfit(DIN(work), history_log, steps=100) > 0.93


@pytest.mark.parametrize("pooling", ["attention", "sdim"])
def test_a_fitted_system_is_read_back(history_log, work_of, pooling):
    work, split = work_of(history_log, "din", f"model.din.pooling={pooling}"), history_log.split("test")
    fitted, read = DIN.fit(work).predict(split), DIN.load(work).predict(split)
    np.testing.assert_array_equal(fitted.click, read.click)


def test_without_a_history_it_is_ple_out_loud(small_encoded_log, work_of, capsys):
    module = DIN(work_of(small_encoded_log, "din"))
    said = " ".join(capsys.readouterr().out.split())
    assert "the log has no list of the user's earlier items, so nothing attends: it is PLE" in said
    ple = PLE(work_of(small_encoded_log, "ple"))
    module.network.load_state_dict(ple.network.state_dict())
    batch = small_encoded_log.split("train").batch(np.arange(30))
    torch.testing.assert_close(module(batch).click, ple(batch).click)


def test_options_that_cannot_be_are_refused(history_log, work_of):
    with pytest.raises(InputError, match="compares earlier items by the hashed id"):
        DIN(work_of(history_log, "din", "model.item.use_hash_id=false"))
    with pytest.raises(InputError, match=r"model.din.hashes must be a multiple of model.din.bits=3, found 10"):
        DIN(work_of(history_log, "din", "model.din.pooling=sdim", "model.din.hashes=10"))
