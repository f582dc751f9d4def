"""ONNX networks over many rows: chunks of one shape, on a few threads of our own.

A session runs one chunk on one thread; the chunks of a request are shared out among threads, which scales better than
cutting each of a network's many small operations in two. A chunk has a fixed number of rows, the last one with rows
that nobody reads, so that a row meets the same kernels, and so has the same bits, whatever rows are beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from configs.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32

CHUNK = 256
"""Rows of a chunk: its activations stay in the second-level cache."""
LIGHT_BYTES, LIGHT_CHUNK = 65_536, 4096
"""A model of fewer bytes does so little for a row that calls would cost more than it: its chunks have so many rows."""
SMALL_CHUNKS = (16, 64, 128, 256, 1024)
"""Rows of chunks for the last rows of a request, where they give the same bits; multiples of a vector's 16 floats."""
NO_FOLDER = "/dev/null"
"""Where a model's tensors in other files are looked for: ONNX Runtime would take them from the working directory, and
no checksum of the bundle's covers those."""
NUMPY_TYPES: Mapping[str, npt.DTypeLike] = {"tensor(float)": np.float32, "tensor(bool)": np.bool_}

Arrays = Mapping[str, npt.NDArray[Any]]


class Threads:
    """Threads that share the pieces of a piece of work out among themselves and the caller.

    Args:
        count: how many work at once for one caller, itself among them; None: one for each core.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or _cores()
        self._pool = ThreadPoolExecutor(self.count - 1, "score") if self.count > 1 else None

    def share(self, pieces: int, work: Callable[[Iterator[int]], None]) -> None:
        """Call ``work`` in several threads with one iterator over the pieces' numbers: each piece is done once."""
        numbers = iter(range(pieces))  # next() of it is one step of the interpreter, and so safe
        helpers = min(self.count, pieces) - 1
        futures = [self._pool.submit(work, numbers) for _ in range(helpers)] if self._pool else []
        try:
            work(numbers)
        finally:
            # One that has not begun, since other requests keep the threads busy, has nothing left to do.
            begun = [future for future in futures if not future.cancel()]
        for future in begun:
            future.result()


def _cores() -> int:
    """Cores that this process may use, which a container may have fewer of than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Network:
    """A network over the rows of a request.

    Args:
        content: the ONNX model; its inputs that have a row for each candidate have no fixed first dimension.
        name: of its file.
        threads: that chunks are shared out among.

    Attributes:
        widths: name of each input → length of its rows.
        outputs: name of each output → the shape of a row.
        chunk: rows of a chunk.

    Raises:
        InputError: if ONNX Runtime cannot read the model.
    """

    def __init__(self, content: bytes, name: str, threads: Threads) -> None:
        self._session = _open_session(content, name)
        self._threads = threads
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.widths = {each.name: each.shape[-1] for each in inputs}
        self.outputs = {each.name: tuple(each.shape[1:]) for each in outputs}
        self._types = {each.name: NUMPY_TYPES[each.type] for each in inputs}
        self._by_row = [each.name for each in inputs if not isinstance(each.shape[0], int)]
        self._constant = [each.name for each in inputs if each.name not in self._by_row]
        self.chunk = CHUNK if len(content) > LIGHT_BYTES else LIGHT_CHUNK
        self._sizes = self._usable_sizes() if self._by_row else (1,)

    def run(self, rows: int, inputs: Arrays) -> dict[str, Float32[np.ndarray, "rows ..."]]:
        """The outputs of all rows.

        Args:
            rows: how many.
            inputs: by name, of ``rows`` rows or of the request; names that the model lacks are not looked at.
        """
        # A session reads memory as it lies, whatever shape and type NumPy sees in it.
        inputs = {name: np.ascontiguousarray(inputs[name], dtype) for name, dtype in self._types.items()}
        outputs = {name: np.empty((rows, *shape), np.float32) for name, shape in self.outputs.items()}

        def work(numbers: Iterator[int]) -> None:
            binding = self._session.io_binding()
            for name in self._constant:
                _bind(binding.bind_input, name, inputs[name])
            for number in numbers:
                part = slice(number * self.chunk, min((number + 1) * self.chunk, rows))
                self._run_chunk(
                    binding,
                    {name: inputs[name][part] for name in self._by_row},
                    {name: values[part] for name, values in outputs.items()},
                    part.stop - part.start,
                )

        self._threads.share(-(-rows // self.chunk), work)
        return outputs

    def _run_chunk(self, binding: onnxruntime.IOBinding, inputs: Arrays, outputs: Arrays, rows: int) -> None:
        """Run one chunk in place, or filled up with rows that nobody reads to the next size that there is."""
        size = next(size for size in self._sizes if size >= rows)
        filled = outputs
        if size > rows:
            inputs = {name: _resized(values, size) for name, values in inputs.items()}
            filled = {name: _resized(values, size) for name, values in outputs.items()}
        for name, values in inputs.items():
            _bind(binding.bind_input, name, values)
        for name, values in filled.items():
            _bind(binding.bind_output, name, values)
        self._session.run_with_iobinding(binding)
        if size > rows:
            for name, values in outputs.items():
                values[...] = filled[name][:rows]

    def agrees(self, other: Network) -> bool:
        """Whether another network of the same inputs gives the bits that this one gives, of the outputs that it has."""
        inputs = self._example()
        ours, theirs = self.run(self.chunk, inputs), other.run(self.chunk, inputs)
        return all(np.array_equal(ours[name], values, equal_nan=True) for name, values in theirs.items())

    def _usable_sizes(self) -> tuple[int, ...]:
        """The chunks whose rows have the bits that they have in a whole chunk, on this machine."""
        inputs = self._example()

        def outputs_of(size: int) -> Arrays:
            self._sizes = (size,)
            parts = []
            for start in range(0, self.chunk, size):
                rows = {name: inputs[name][start : start + size] for name in self._by_row}
                parts.append(self.run(size, inputs | rows))
            return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

        whole = outputs_of(self.chunk)
        usable = []
        for size in (size for size in SMALL_CHUNKS if size < self.chunk):
            small = outputs_of(size)
            if all(np.array_equal(small[name], values, equal_nan=True) for name, values in whole.items()):
                usable.append(size)
        return (*usable, self.chunk)

    def _example(self) -> dict[str, npt.NDArray[Any]]:
        """Random inputs of one chunk, the same each time."""
        draw = np.random.default_rng(0)
        inputs = {}
        for each in self._session.get_inputs():
            shape = (self.chunk if each.name in self._by_row else each.shape[0], *each.shape[1:])
            inputs[each.name] = draw.normal(size=shape).astype(self._types[each.name])
        return inputs


def _resized(values: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """The rows, and zeros up to so many."""
    resized = np.zeros((rows, *values.shape[1:]), values.dtype)
    resized[: len(values)] = values
    return resized


def _bind(bind: Callable[..., None], name: str, values: npt.NDArray[Any]) -> None:
    """Let a session read or write an array where it lies."""
    bind(name, "cpu", 0, values.dtype, values.shape, values.ctypes.data)


def _open_session(content: bytes, name: str) -> onnxruntime.InferenceSession:
    """A session that runs on the calling thread alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NO_FOLDER)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise InputError(f"{name} is no network that ONNX Runtime {onnxruntime.__version__} reads: {error}") from None
