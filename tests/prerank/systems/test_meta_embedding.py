"""Meta-Embedding: the loss against its two steps written out item by item, and who trains, serves and is served."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from configs.errors import InputError
from prerank.systems.cold_ids import RowsOfItems, start_from
from prerank.systems.meta_embedding import MetaEmbedding
from prerank.systems.ple import PLE

OPTIONS = ("model.cold_ids.impressions=5",)


@pytest.fixture
def module(small_encoded_log, work_of) -> MetaEmbedding:
    made = MetaEmbedding(work_of(small_encoded_log, "meta_embedding", *OPTIONS))
    torch.nn.init.normal_(made.network.item_network.hash_id.table.weight)
    start_from(made, PLE(work_of(small_encoded_log, "ple")), (made.generated.generator,))
    return made


def item_loss(module, batch, rows, embedding):
    """Mean click and order cross-entropy of one item's rows, each with the given id embedding."""
    items = module.network.item_network
    attributes = items.attributes(batch.sides["item"])
    phi = items.layers(torch.cat([attributes, embedding.expand(len(batch), -1)], dim=1))
    outputs = module.network.outputs_of(phi, batch)
    total = F.binary_cross_entropy_with_logits(outputs.click[rows], batch.clicked[rows])
    return total + F.binary_cross_entropy_with_logits(outputs.order[rows], batch.ordered[rows])


@pytest.mark.parametrize(("first", "second"), [([0], [13]), ([0, 1, 5, 14, 25], [3, 2, 9, 18, 30])])
def test_the_loss_is_the_two_steps_item_by_item(small_encoded_log, module, first, second):
    module.model.cold_ids.step = 50.0  # the losses of a fresh network are flat: a small step could go either way
    split = small_encoded_log.split("train")
    one, two = split.batch(np.array(first)), split.batch(np.array(second))
    one.item[:] = torch.tensor([7, 4, 7, 4, 9][: len(first)])  # rows of three items, mixed
    two.item[:] = one.item
    losses_before, losses_after = [], []
    for item in one.item.unique():
        rows = (one.item == item).nonzero().squeeze(1)
        items = module.network.item_network
        attributes = items.attributes(one.sides["item"])[rows[0]]
        embedding = torch.tanh(items.generator.weight @ attributes) / 5
        before = item_loss(module, one, rows, embedding)
        (gradient,) = torch.autograd.grad(before, embedding, create_graph=True)
        losses_before.append(before)
        losses_after.append(item_loss(module, two, rows, embedding - 50.0 * gradient))
    terms = module.meta_losses(one, two)
    torch.testing.assert_close(terms["before"], 0.1 * torch.stack(losses_before).mean())
    torch.testing.assert_close(terms["after"], 0.9 * torch.stack(losses_after).mean())
    weight = module.generated.generator.weight
    found = torch.autograd.grad(torch.stack(list(terms.values())).sum(), weight, retain_graph=True)[0]
    wanted = 0.1 * torch.stack(losses_before).mean() + 0.9 * torch.stack(losses_after).mean()
    torch.testing.assert_close(found, torch.autograd.grad(wanted, weight)[0])


def test_only_the_generator_trains(small_encoded_log, module):
    batch = small_encoded_log.split("train").batch(np.arange(100))
    torch.stack(list(module.training_terms(batch).values())).sum().backward()
    assert [name for name, each in module.named_parameters() if each.grad is not None] == [
        "network.item_network.generator.weight"
    ]


def test_cold_and_unknown_ids_are_generated_and_warm_ones_are_not(small_encoded_log, module):
    seen = small_encoded_log.training_counts.impressions
    cold, warm = np.flatnonzero(seen < 5)[:3], np.flatnonzero(seen >= 5)[:3]
    assert len(cold) == len(warm) == 3
    items = module.generated
    for rows, generated in ((cold, True), (warm, False)):
        item_hash, features = small_encoded_log.item_features(rows)
        attributes = items.attributes(features)
        identity = items.generate(attributes) if generated else items.hash_id(item_hash)
        torch.testing.assert_close(items(item_hash, features), items.layers(torch.cat([attributes, identity], 1)))
        assert (items.is_cold(item_hash) == generated).all()
    assert items.is_cold(torch.tensor([12345])).all()


def test_batches_without_a_warm_item_are_worth_nothing(small_encoded_log, work_of):
    module = MetaEmbedding(work_of(small_encoded_log, "meta_embedding", "model.cold_ids.impressions=1000"))
    terms = module.training_terms(small_encoded_log.split("train").batch(np.arange(50)))
    assert {name: float(value.detach()) for name, value in terms.items()} == {"before": 0.0}


def test_another_row_is_of_the_same_item_and_has_feedback(small_encoded_log):
    split = small_encoded_log.split("train")
    rows, known = np.arange(split.rows), set(split.feedback_rows().tolist())
    pairs = RowsOfItems(split)
    drawn = {row: set() for row in rows}
    for seed in range(60):
        for row, other in zip(rows, pairs.another(rows, split.item, np.random.default_rng(seed)), strict=True):
            drawn[row].add(int(other))
    for row in rows:
        same = {other for other in known if split.item[other] == split.item[row]} - {row}
        assert drawn[row] <= same if row in known and same else drawn[row] == {-1}
        if row in known and 0 < len(same) < 6:
            assert drawn[row] == same


def test_the_generator_learns_and_the_base_overfits(small_encoded_log, work_of, overfit):
    base = PLE(work_of(small_encoded_log, "ple", "prerank.learning_rate=0.05"))
    assert overfit(base, small_encoded_log, steps=110) > 0.95
    module = MetaEmbedding(work_of(small_encoded_log, "meta_embedding", *OPTIONS, "prerank.learning_rate=0.05"))
    start_from(module, base, (module.generated.generator,))
    split = small_encoded_log.split("train")
    batch = split.batch(np.arange(split.rows))

    def loss() -> float:
        return float(torch.stack(list(module.training_terms(batch).values())).sum().detach())

    module._trainer = base._trainer
    module._trainer.global_step = 0
    start = loss()
    assert overfit(module, small_encoded_log, steps=20) > 0.8
    module._trainer.global_step = 0
    assert loss() < 0.95 * start


def test_it_is_fitted_in_two_phases_and_read_back(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "meta_embedding", *OPTIONS), small_encoded_log.split("test")
    fitted = MetaEmbedding.fit(work)
    base = PLE.load(work_of(small_encoded_log, "ple", folder="system/base"))
    for name, value in base.module.network.state_dict().items():
        torch.testing.assert_close(fitted.module.network.state_dict()[name], value, rtol=0, atol=0)
    np.testing.assert_array_equal(fitted.predict(split).click, MetaEmbedding.load(work).predict(split).click)
    assert fitted.item_vectors(small_encoded_log).shape[0] == small_encoded_log.schema.n_items
    again = MetaEmbedding.fit(work).predict(split)  # resumed where it ended
    np.testing.assert_array_equal(fitted.predict(split).click, again.click)


def test_it_needs_the_hashed_id(small_encoded_log, work_of):
    with pytest.raises(InputError, match=r"cold ids need the hashed id .* found model.item.use_hash_id=False"):
        MetaEmbedding(work_of(small_encoded_log, "meta_embedding", "model.item.use_hash_id=false"))
