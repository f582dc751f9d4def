"""Adagrad against torch's on dense gradients, for tables of which a batch names some rows, some of them often."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prerank.training.adagrad import Adagrad, summed_rows


class Small(nn.Module):
    """A table that is looked up twice, a perceptron, and a parameter that nothing uses."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.sparse = sparse
        self.table = nn.Parameter(torch.randn(50, 4))
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        vectors = [F.embedding(rows, self.table, sparse=self.sparse) for rows in (first, second)]
        return self.layers(vectors[0] * vectors[1]).square().mean() if len(first) else vectors[0].sum()


def train(module: Small, optimizer: torch.optim.Optimizer, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for first, second in batches:
        optimizer.zero_grad()
        module(first, second).backward()
        optimizer.step()


def batches(rows: int, steps: int = 20, names: int = 7) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(rows)
    return [tuple(torch.randint(0, names, (2, rows), generator=generator)) for _ in range(steps)]


@pytest.mark.parametrize("rows", [0, 1, 2, 300])
@pytest.mark.parametrize("start", [0.0, 1e-4])
def test_it_is_torchs_adagrad_on_dense_gradients(rows, start):
    torch.manual_seed(rows)
    ours = Small(sparse=True)
    theirs = copy.deepcopy(ours)
    theirs.sparse = False
    optimizers = Adagrad(ours.parameters(), lr=0.1), torch.optim.Adagrad(theirs.parameters(), lr=0.1)
    for module, optimizer in zip((ours, theirs), optimizers, strict=True):
        optimizer.state[module.table]["sum"].fill_(start)
        train(module, optimizer, batches(rows))
    for (name, found), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)
        sums = [optimizer.state[each]["sum"] for optimizer, each in zip(optimizers, (found, expected), strict=True)]
        torch.testing.assert_close(*sums, msg=name)


def test_rows_that_no_batch_names_stay_bit_by_bit():
    module = Small(sparse=True)
    before = module.table.detach().clone()
    train(module, Adagrad(module.parameters(), lr=0.1), batches(300))
    assert torch.equal(module.table[7:], before[7:])
    assert not (module.table[:7] == before[:7]).any()


def test_rows_are_summed_whatever_their_order_and_number():
    index = torch.tensor([4, 1, 4, 9, 1, 4])
    values = torch.arange(12.0).view(6, 2)
    rows, summed = summed_rows(torch.sparse_coo_tensor(index.unsqueeze(0), values, (10, 2)))
    assert rows.tolist() == [1, 4, 9]
    assert summed.tolist() == [[10, 12], [14, 17], [6, 7]]
    coalesced = torch.sparse_coo_tensor(index.unsqueeze(0), values, (10, 2)).coalesce()
    assert torch.equal(summed_rows(coalesced)[1], summed)


def test_two_threads_give_the_bits_of_one():
    tables = []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        torch.manual_seed(0)
        module = nn.Embedding(30_000, 32, sparse=True)
        optimizer = Adagrad(module.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            module(torch.randint(0, 3_000, (20_000,))).square().sum().backward()
            optimizer.step()
        tables.append(module.weight.detach())
    torch.set_num_threads(threads)
    assert torch.equal(*tables)


def test_it_goes_on_from_its_state():
    torch.manual_seed(3)
    whole = Small(sparse=True)
    first = copy.deepcopy(whole)
    optimizer = Adagrad(first.parameters(), lr=0.1)
    train(whole, Adagrad(whole.parameters(), lr=0.1), batches(40))
    train(first, optimizer, batches(40)[:9])
    second = copy.deepcopy(first)
    resumed = Adagrad(second.parameters(), lr=0.3)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(second, resumed, batches(40)[9:])
    for found, expected in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(found, expected)
