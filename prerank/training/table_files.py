"""Embedding tables on disk while they are trained: all rows once, then at each checkpoint the rows that have changed.

A table of millions of rows and its optimiser's state are hundreds of megabytes, of which a few per cent change between
two validations. So the folder ``rows`` has a base with every row, written in a thread while the training goes on, and
one file a checkpoint with the rows that a gradient has named since the one before. The base may hold rows that are
torn or too new: each of them has been trained since, so the next file has it. What a checkpoint consists of is a list
of these files, of which later ones count. They are safetensors, renamed when they are whole, and never change.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int64
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from configs.errors import InputError
from configs.stages import mend, replacing
from prerank.network.inputs import HashedTable

LONGEST = 4
"""How many times as long as the trained rows the files may become before these are written anew."""
CHUNK = 1 << 16
"""Rows copied at a time: writing and reading take some megabytes of memory and no more."""
ROWS, WEIGHT = "rows", "weight"
TYPES = {torch.float32: "F32", torch.int64: "I64"}
Parts = Mapping[str, tuple[Tensor, Tensor | None]]
"""What a file holds: by name a tensor, and which rows of it; None for all."""


def tables_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of a module's hashed tables by name, each once."""
    weights = {id(each.weight) for each in module.modules() if isinstance(each, HashedTable)}
    return {name: parameter for name, parameter in module.named_parameters() if id(parameter) in weights}


def row_states(optimizer: torch.optim.Optimizer, table: nn.Parameter) -> dict[str, Tensor]:
    """What the optimiser keeps of each row of a table, by name."""
    state = optimizer.state.get(table, {})
    return {
        name: values
        for name, values in state.items()
        if isinstance(values, Tensor) and values.dim() > 0 and len(values) == len(table)
    }


class TableFiles:
    """Writes the rows of a module's tables and of the optimiser's state of them.

    Args:
        folder: of the files.
        module: whose tables they are.
        optimizer: whose state of a table is the same for all rows until one is trained.
    """

    def __init__(self, folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.folder = folder
        self.tables = tables_of(module)
        self.optimizer = optimizer
        # The rows of each table that were trained since the last file, and since the base.
        self._changed = {name: torch.zeros(len(table), dtype=torch.bool) for name, table in self.tables.items()}
        self._trained = {name: torch.zeros(len(table), dtype=torch.bool) for name, table in self.tables.items()}
        self._initial = {
            f"{name}/{key}": values[(0,) * values.dim()].item()
            for name, table in self.tables.items()
            for key, values in row_states(optimizer, table).items()
        }
        self._files: list[str] = []
        self._written = 0
        self._base: Future[None] | None = None

    def start(self, with_states: bool = False) -> None:
        """Write the base in a thread; from here on :meth:`mark` is to be called before each step.

        Args:
            with_states: whether the rows' states are no longer what they were before any training.
        """
        self._files = [_name(0)]
        weights: Parts = {f"{name}/{WEIGHT}": (table.detach(), None) for name, table in self.tables.items()}
        if with_states:
            states = {name: row_states(self.optimizer, table) for name, table in self.tables.items()}
            rows = {f"{name}/{key}": (each, None) for name, of in states.items() for key, each in of.items()}
            weights = {**weights, **rows}
        pool = ThreadPoolExecutor(1)
        self._base = pool.submit(_write, self.folder / self._files[0], weights)
        pool.shutdown(wait=False)

    def resume(self, files: Sequence[str]) -> None:
        """Read a checkpoint's files into the tables and the optimiser's state, and go on from there.

        Raises:
            InputError: if one is missing or damaged.
        """
        for table in self.tables.values():
            for key, values in row_states(self.optimizer, table).items():
                # Lightning has put in its place what the checkpoint has for it: one value that stands for all rows.
                self.optimizer.state[table][key] = values.clone(memory_format=torch.contiguous_format)
        targets = weights_of(self.tables)
        for name, table in self.tables.items():
            targets |= {f"{name}/{key}": values for key, values in row_states(self.optimizer, table).items()}
        for name, rows in read_rows(self.folder, files, targets):
            self._trained[name][rows] = True
            self._written += len(rows)
        self._files = list(files)

    def mark(self) -> None:
        """Note which rows the gradients name."""
        for name, table in self.tables.items():
            if table.grad is not None:
                if table.grad.is_sparse:
                    self._changed[name].index_fill_(0, table.grad._indices()[0].cpu(), True)
                else:
                    self._changed[name].fill_(True)

    def write(self) -> list[str]:
        """Write what has changed since the last call.

        Where the files would become :data:`LONGEST` times as long as the trained rows, all these are written instead.

        Returns:
            The files that the tables consist of now; others may be removed once this list is on disk.

        Raises:
            OSError: if the disk is full; also where it was for the base.
        """
        if self._base is not None:
            self._base.result()
        for name, changed in self._changed.items():
            self._trained[name] |= changed
        changes, trained = _count(self._changed), _count(self._trained)
        if changes:
            anew = self._written > 0 and self._written + changes >= LONGEST * trained
            chosen = self._trained if anew else self._changed
            number = int(self._files[-1].split(".")[0]) + 1
            _write(self.folder / _name(number), self._parts(chosen))
            self._files = [*self._files[: 1 if anew else None], _name(number)]
            self._written = trained if anew else self._written + changes
            for marks in self._changed.values():
                marks.fill_(False)
        return list(self._files)

    def close(self) -> None:
        """Let the thread end, whether or not its file is whole."""
        if self._base is not None:
            self._base.exception()

    def stand_ins(self) -> dict[int, Tensor]:
        """By their address, a tensor for each table and each state of one that has its shape and holds one value.

        A state's is what it had before training, which is still right for the rows that no file has.
        """
        places = {}
        for name, table in self.tables.items():
            places[table.data_ptr()] = table.new_zeros(1).expand(table.shape)
            for key, values in row_states(self.optimizer, table).items():
                initial = self._initial.get(f"{name}/{key}", 0.0)
                places[values.data_ptr()] = values.new_full((1,), initial).expand(values.shape)
        return places

    def _parts(self, chosen: Mapping[str, Bool[Tensor, " rows"]]) -> Parts:
        """The numbers of the chosen rows of each table, and these rows of its weight and of its states."""
        parts: dict[str, tuple[Tensor, Tensor | None]] = {}
        for name, table in self.tables.items():
            rows = chosen[name].nonzero().squeeze(1)
            if len(rows):
                values = {WEIGHT: table.detach(), **row_states(self.optimizer, table)}
                parts[f"{name}/{ROWS}"] = (rows, None)
                parts |= {f"{name}/{key}": (value, rows.to(value.device)) for key, value in values.items()}
        return parts


def read_tables(module: nn.Module, folder: Path, files: Sequence[str]) -> None:
    """Read a checkpoint's weights into a module's tables.

    Raises:
        InputError: if a file is missing or damaged.
    """
    for _ in read_rows(folder, files, weights_of(tables_of(module))):
        pass


def joined(
    module: nn.Module, folder: Path, files: Sequence[str], states: Mapping[str, Tensor] | None = None
) -> list[str]:
    """Few files in place of those that the weights of a module were read from, where these are far longer.

    Args:
        module: with the weights.
        folder, files: where they were read from.
        states: by name in the files (``table/state``), what stands for the rows of a state that no file has.

    Returns:
        The files that count: the weights and, if any are asked for, the states of the rows that have been trained.
    """
    weights = weights_of(tables_of(module))
    size = sum(table.numel() * table.element_size() for table in weights.values())
    if sum((folder / file).stat().st_size for file in files) <= 2 * size:
        return list(files)
    number = max(int(path.stem) for path in folder.glob("*.safetensors")) + 1
    _write(folder / _name(number), {key: (table, None) for key, table in weights.items()})
    parts: dict[str, tuple[Tensor, Tensor | None]] = {}
    for name, values in read_states(folder, files, states or {}).items():
        rows = (values != (states or {})[name]).flatten(1).any(dim=1).nonzero().squeeze(1)
        if len(rows):
            parts |= {f"{name.rsplit('/', 1)[0]}/{ROWS}": (rows, None), name: (values, rows)}
    if not parts:
        return [_name(number)]
    _write(folder / _name(number + 1), parts)
    return [_name(number), _name(number + 1)]


def read_states(folder: Path, files: Sequence[str], states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The optimiser's states of all rows of the tables; arguments as of :func:`joined`.

    Raises:
        InputError: if a file is missing or damaged.
    """
    whole = {name: values.clone(memory_format=torch.contiguous_format) for name, values in states.items()}
    for _ in read_rows(folder, files, whole):
        pass
    return whole


def remove_others(folder: Path, files: Sequence[str]) -> None:
    """Remove the files that no checkpoint needs any more."""
    for path in folder.glob("*.safetensors"):
        if path.name not in files:
            path.unlink()


def weights_of(tables: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The weights of tables by their names in the files."""
    return {f"{name}/{WEIGHT}": table.detach() for name, table in tables.items()}


def read_rows(
    folder: Path, files: Sequence[str], targets: Mapping[str, Tensor]
) -> Iterator[tuple[str, Int64[Tensor, " rows"]]]:
    """Read files into tensors in place, in their order.

    Args:
        folder, files: where they are.
        targets: tensors by their name in the files; others are passed over.

    Yields:
        A table's name and the rows of it that a file has; nothing for the base.

    Raises:
        InputError: if a file is missing or damaged.
    """
    for path in (folder / file for file in files):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  it is no dictionary
                    if name in targets:
                        table = name.rsplit("/", 1)[0]
                        rows = file.get_tensor(f"{table}/{ROWS}") if f"{table}/{ROWS}" in file.keys() else None  # noqa: SIM118
                        _fill(targets[name], file.get_slice(name), rows)
                    elif name.endswith(f"/{ROWS}"):
                        yield name.rsplit("/", 1)[0], file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} is not a readable part of the checkpoint ({error}): {mend(path)}") from None


def _fill(target: Tensor, values: Any, rows: Int64[Tensor, " rows"] | None) -> None:
    """Copy a file's rows to their places, some at a time."""
    for start in range(0, values.get_shape()[0], CHUNK):
        part = values[start : start + CHUNK]
        if rows is None:
            target[start : start + CHUNK] = part.to(target.device)
        else:
            target.index_copy_(0, rows[start : start + CHUNK].to(target.device), part.to(target.device))


def _write(path: Path, parts: Parts) -> None:
    """Write a safetensors file without its being in memory: its header, then the rows, some at a time."""
    header, end = {}, 0
    for name, (values, rows) in parts.items():
        shape = [len(values if rows is None else rows), *values.shape[1:]]
        size = math.prod(shape) * values.element_size()
        header[name] = {"dtype": TYPES[values.dtype], "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values, rows in parts.values():
            for start in range(0, len(values if rows is None else rows), CHUNK):
                part = slice(start, start + CHUNK)
                file.write((values[part] if rows is None else values[rows[part]]).cpu().contiguous().numpy().data)


def _count(marks: Mapping[str, Bool[Tensor, " rows"]]) -> int:
    return sum(int(each.sum()) for each in marks.values())


def _name(number: int) -> str:
    return f"{number:05d}.safetensors"
