"""Eq. 11 against slow loops over the paper's formulas: each of its weights counts, and ψ is centred over P alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prerank.encoding.batches import Batch, EncodedLog
from prerank.systems.grace import GRACE
from prerank.training.contracts import Work

CUTOFFS = (3, 5)
PLAIN = {"rank.weight": 0.1, "contrast.weight": 0.1, "contrast.temperature": 0.1, "rank.k_weights": [0.5, 0.5]}


def cross_entropy(logit: float, label: float) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if label else 1 - probability)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def naive_feedback(batch: Batch, outputs) -> float:
    """Eqs. 2 to 4 over the rows whose feedback is known."""
    rows = [row for row in range(len(batch)) if batch.has_feedback[row]]
    clicks = [cross_entropy(float(outputs.click[row]), float(batch.clicked[row])) for row in rows]
    return mean(clicks) + mean([cross_entropy(float(outputs.order[row]), float(batch.ordered[row])) for row in rows])


def naive_rank(batch: Batch, outputs, k_weights: list[float]) -> float:
    """Eqs. 6, 8 and 9 over the rows whose position is known, random negatives among them."""
    total = 0.0
    for column, (k, weight) in enumerate(zip(CUTOFFS, k_weights, strict=True)):
        losses = []
        for row, position in enumerate(batch.position.tolist()):
            if math.isinf(position) or (not math.isnan(position) and batch.list_length[row] > k):
                losses.append(cross_entropy(float(outputs.rank[row, column]), position <= k))
        total += weight * mean(losses)
    return total


def naive_generalisation(batch: Batch, outputs, work: Work, temperature: float) -> float:
    """Eq. 10 with L2 over the distinct items of the batch, with ψ minus its mean over P."""
    assert work.psi is not None
    vectors = np.asarray(work.psi.vectors, dtype=np.float64)
    centred = vectors - vectors.mean(axis=0)
    row_of = {item: row for row, item in enumerate(work.psi.ids.to_pylist())}
    ids = work.encoded.item_ids.to_pylist()
    phi = {int(item): outputs.phi[row].double().numpy() for row, item in reversed(list(enumerate(batch.item)))}
    unit = {item: vector / np.linalg.norm(vector) for item, vector in phi.items()}
    losses = []
    for item, own in unit.items():
        if ids[item] in row_of:
            psi = centred[row_of[ids[item]]]
            against = sum(math.exp(own @ other / temperature) for other in unit.values())
            losses.append(math.log(against) - own @ psi / np.linalg.norm(psi) / temperature)
    return mean(losses)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"rank.weight": 0.7},
        {"contrast.weight": 0.3},
        {"contrast.temperature": 0.5},
        {"rank.k_weights": [2.0, 0.25]},
    ],
    ids=str,
)
def test_the_loss_is_eq_11(small_encoded_log: EncodedLog, work_of: Callable[..., Work], changed: dict) -> None:
    keys = PLAIN | changed
    overrides = [f"model.{key}={value}" for key, value in keys.items()]
    work = work_of(small_encoded_log, "grace", *overrides, "model.contrast.mask_above=1", psi=True)
    assert work.psi is not None
    # Far from the origin: ψ that is not centred, or over other items than P's, would point the same way for all.
    np.asarray(work.psi.vectors)[:] += 3.0
    module = GRACE(work)
    module._trainer = SimpleNamespace(is_last_batch=False)  # type: ignore[assignment]
    batch = small_encoded_log.split("train").batch(np.arange(200))
    with torch.no_grad():
        outputs = module(batch)
        found = sum(float(term) for term in module.losses(batch, outputs).values())
    expected = naive_feedback(batch, outputs)
    expected += keys["rank.weight"] * naive_rank(batch, outputs, keys["rank.k_weights"])
    expected += keys["contrast.weight"] * naive_generalisation(batch, outputs, work, keys["contrast.temperature"])
    assert found == pytest.approx(expected, rel=1e-5)


def test_each_k_weighs_one_over_their_number_by_default(
    small_encoded_log: EncodedLog, work_of: Callable[..., Work]
) -> None:
    module = GRACE(work_of(small_encoded_log, "grace", psi=True))
    assert module.k_weights.tolist() == pytest.approx([1 / len(module.cutoffs)] * len(module.cutoffs))
    assert len(module.cutoffs) > 1
    assert not {"psi", "psi_row", "k_weights"} & module.state_dict().keys()  # they are the log's and psi's own
