"""Tables written row by row are, bit by bit, the tables that were copied whole."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from configs.errors import InputError
from prerank.network.inputs import HashedTable
from prerank.training import table_files
from prerank.training.table_files import TableFiles, joined, read_tables, remove_others, row_states, tables_of


class Tables(nn.Module):
    def __init__(self, rows: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one = HashedTable({"a": rows, "b": 2}, 4)
        self.same = self.one  # one table under two names
        self.other = HashedTable({"c": rows}, 3)
        self.never = HashedTable({"d": 5}, 2)
        self.dense = nn.Linear(3, 3)


class RowAdagrad(torch.optim.Adagrad):
    """With one number for each row, as a row-wise optimiser has it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module.parameters(), lr=0.1, initial_accumulator_value=0.25)
        for parameter in module.parameters():
            self.state[parameter]["norm"] = torch.full((len(parameter),), 0.5)

    def step(self) -> None:  # type: ignore[override]
        for parameter, state in self.state.items():
            if parameter.grad is not None and parameter.grad.is_sparse:
                state["norm"][parameter.grad._indices()[0]] += 1
        super().step()


def train(module: Tables, optimizer: torch.optim.Optimizer, files: TableFiles, steps: int, dense: bool = False) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        ids = torch.randint(0, 2**40, (6, 1))
        loss = module.one.lookup(["a"], torch.cat([ids, ids[:3]])).square().sum()  # an id may be there twice
        loss = loss + (module.other.weight.square() if dense else module.other.lookup(["c"], ids)).sum()
        loss.backward()
        files.mark()
        optimizer.step()


def copied(module: Tables, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The naive checkpoint: everything."""
    copies = {}
    for name, table in tables_of(module).items():
        copies |= {f"{name}/{key}": value.clone() for key, value in row_states(optimizer, table).items()}
        copies[f"{name}/weight"] = table.detach().clone()
    return copies


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("rows", [1, 7, 500])
@pytest.mark.parametrize("chunk", [3, 1 << 16])
def test_every_checkpoint_reads_back_as_it_was(tmp_path: Path, monkeypatch, rows: int, chunk: int) -> None:
    """Steps are taken while the base is not written yet; few rows are all trained soon, so that files are renewed."""
    monkeypatch.setattr(table_files, "CHUNK", chunk)
    go, original = threading.Event(), table_files._write

    def late(path: Path, parts: table_files.Parts) -> None:
        assert go.wait(60)
        original(path, parts)

    monkeypatch.setattr(table_files, "_write", late)
    module = Tables(rows, seed=1)
    optimizer = RowAdagrad(module)
    files = TableFiles(tmp_path, module, optimizer)
    files.start()
    train(module, optimizer, files, 3)
    go.set()
    saved = []
    for number in range(8):
        train(module, optimizer, files, number % 3, dense=number == 4)
        saved.append((files.write(), copied(module, optimizer), {key: value.clone() for key, value in _aside(files)}))
        longest = sum(path.stat().st_size for path in tmp_path.glob("*")) if rows == 7 else 0
        if rows == 7:
            remove_others(tmp_path, saved[-1][0])
            whole = sum(value.numel() * 4 for value in saved[-1][1].values())
            assert longest < 8 * whole + 30_000
            saved = saved[-1:]
    for names, expected, stand_ins in saved:
        fresh = Tables(rows, seed=2)
        other = RowAdagrad(fresh)
        for name, table in tables_of(fresh).items():
            for key in row_states(other, table):
                other.state[table][key] = stand_ins[f"{name}/{key}"].expand(other.state[table][key].shape)
        TableFiles(tmp_path, fresh, other).resume(names)
        assert equal(copied(fresh, other), expected)
        weights = Tables(rows, seed=3)
        read_tables(weights, tmp_path, names)
        assert all(torch.equal(table, expected[f"{name}/weight"]) for name, table in tables_of(weights).items())


def _aside(files: TableFiles) -> list[tuple[str, Tensor]]:
    """The one value that stands for each state's rows, by name."""
    places, named = files.stand_ins(), []
    for name, table in files.tables.items():
        for key, value in row_states(files.optimizer, table).items():
            stand_in = places[value.data_ptr()]
            assert stand_in.shape == value.shape
            named.append((f"{name}/{key}", stand_in[(0,) * stand_in.dim()]))
    return named


def test_a_resumed_training_writes_on(tmp_path: Path) -> None:
    module = Tables(50, seed=1)
    optimizer = RowAdagrad(module)
    files = TableFiles(tmp_path, module, optimizer)
    files.start()
    train(module, optimizer, files, 2)
    names = files.write()
    fresh = Tables(50, seed=2)
    other = RowAdagrad(fresh)
    again = TableFiles(tmp_path, fresh, other)
    again.resume(names)
    for _ in range(12):
        train(fresh, other, again, 2)
        names = again.write()
        last = Tables(50, seed=3)
        read_tables(last, tmp_path, names)
        assert all(torch.equal(a, b) for a, b in zip(tables_of(last).values(), tables_of(fresh).values(), strict=True))
        remove_others(tmp_path, names)
    assert len(names) < 12


def test_only_trained_rows_are_written(tmp_path: Path) -> None:
    module = Tables(100_000, seed=1)
    optimizer = RowAdagrad(module)
    files = TableFiles(tmp_path, module, optimizer)
    files.start()
    train(module, optimizer, files, 1)
    base, changes = files.write()
    assert (tmp_path / changes).stat().st_size < 2_000
    assert (tmp_path / base).stat().st_size < 100_000 * (4 + 3) * 4 + 1_000
    assert files.write() == [base, changes]


def test_files_far_longer_than_the_weights_are_joined(tmp_path: Path) -> None:
    module = Tables(300, seed=1)
    optimizer = RowAdagrad(module)
    files = TableFiles(tmp_path, module, optimizer)
    files.start()
    few = files.write()
    assert joined(module, tmp_path, few) == few
    for _ in range(12):
        train(module, optimizer, files, 3, dense=True)
        many = files.write()
    one = joined(module, tmp_path, many)
    assert len(one) == 1
    assert not set(one) & set(many)
    other = Tables(300, seed=2)
    read_tables(other, tmp_path, one)
    assert all(torch.equal(a, b) for a, b in zip(tables_of(other).values(), tables_of(module).values(), strict=True))


def test_a_base_that_cannot_be_written_ends_the_training(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table_files, "_write", full)
    module = Tables(5, seed=1)
    files = TableFiles(tmp_path, module, RowAdagrad(module))
    files.start()
    with pytest.raises(OSError, match="No space"):
        files.write()
    files.close()


@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    module = Tables(5, seed=1)
    files = TableFiles(tmp_path, module, RowAdagrad(module))
    files.start()
    (name,) = files.write()
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-9] if damage == "truncated" else b"\x80\x04pickle")
    with pytest.raises(InputError, match=rf"{name} is not a readable part"):
        read_tables(module, tmp_path, [name])
