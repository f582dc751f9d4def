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
SMALL_CHUNKS = (16, 64, 128)
"""Rows of chunks for the last rows of a request, where they give the same bits; multiples of a vector's 16 floats."""
NUMPY_TYPES: Mapping[str, npt.DTypeLike] = {"tensor(float)": np.float32, "tensor(bool)": np.bool_}

Fill = Callable[[int, int, npt.NDArray[Any]], None]
"""Writes an input's rows from start to stop into a contiguous array of so many rows."""


class Threads:
    """Threads that share the pieces of a piece of work out among themselves and the caller.

    Args:
        count: how many work at once for one caller, itself among them; None: one for each core.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or len(os.sched_getaffinity(0))
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


class Bound:
    """A session's buffers for one number of rows, bound once.

    Args:
        session: of the network.
        rows: how many.
    """

    def __init__(self, session: onnxruntime.InferenceSession, rows: int) -> None:
        self._session = session
        self._binding = session.io_binding()
        self.inputs = {each.name: _buffer(each, rows) for each in session.get_inputs()}
        self.outputs = {each.name: _buffer(each, rows) for each in session.get_outputs()}
        for name, buffer in self.inputs.items():
            self._binding.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        for name, buffer in self.outputs.items():
            self._binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)

    def run(self) -> None:
        """From what the input buffers hold to what the output buffers hold."""
        self._session.run_with_iobinding(self._binding)


def _buffer(node: onnxruntime.NodeArg, rows: int) -> npt.NDArray[Any]:
    return np.zeros([rows if _by_row(node) else node.shape[0], *node.shape[1:]], NUMPY_TYPES[node.type])


def _by_row(node: onnxruntime.NodeArg) -> bool:
    """Whether an input or output has a row for each candidate: its first dimension is not fixed."""
    return not isinstance(node.shape[0], int)


class Network:
    """A network over the rows of a request.

    Args:
        content: the ONNX model; its inputs that have a row for each candidate have no fixed first dimension.
        name: of its file.
        threads: that chunks are shared out among.

    Attributes:
        widths: name of each input → length of its rows.
        outputs: the names.

    Raises:
        InputError: if ONNX Runtime cannot read the model.
    """

    def __init__(self, content: bytes, name: str, threads: Threads) -> None:
        self._session = _open_session(content, name)
        self._threads = threads
        inputs = self._session.get_inputs()
        self.widths = {each.name: each.shape[-1] for each in inputs}
        self.outputs = [each.name for each in self._session.get_outputs()]
        self._by_row = [each.name for each in inputs if _by_row(each)]
        self._constant = [each.name for each in inputs if not _by_row(each)]
        self._sizes = (*(size for size in SMALL_CHUNKS if self._same_bits(size)), CHUNK)
        self._idle: list[dict[int, Bound]] = []

    def run(
        self, rows: int, by_row: Mapping[str, Fill], constant: Mapping[str, npt.NDArray[Any]]
    ) -> dict[str, Float32[np.ndarray, "rows ..."]]:
        """The outputs of all rows.

        Args:
            rows: how many.
            by_row: what writes each input that has a row for each candidate.
            constant: the other inputs.
        """
        outputs = {each.name: np.empty((rows, *each.shape[1:]), np.float32) for each in self._session.get_outputs()}

        def work(numbers: Iterator[int]) -> None:
            buffers, current = self._buffers(), None
            for number in numbers:
                start, stop = number * CHUNK, min((number + 1) * CHUNK, rows)
                bound = buffers[next(size for size in self._sizes if size >= stop - start)]
                if bound is not current:
                    current = bound
                    for name in self._constant:
                        bound.inputs[name][...] = constant[name]
                for name in self._by_row:
                    by_row[name](start, stop, bound.inputs[name][: stop - start])
                bound.run()
                for name, values in outputs.items():
                    values[start:stop] = bound.outputs[name][: stop - start]
            self._idle.append(buffers)

        self._threads.share(-(-rows // CHUNK), work)
        return outputs

    def _buffers(self) -> dict[int, Bound]:
        """Buffers that no other thread uses; they go back to the idle ones after use."""
        try:
            return self._idle.pop()
        except IndexError:
            return {size: Bound(self._session, size) for size in self._sizes}

    def _same_bits(self, size: int) -> bool:
        """Whether chunks of this size give the bits that whole ones give, on this machine."""
        draw = np.random.default_rng(0)
        whole, small = Bound(self._session, CHUNK), Bound(self._session, size)
        for buffer in whole.inputs.values():
            buffer[...] = draw.normal(size=buffer.shape)
        whole.run()
        for start in range(0, CHUNK if self._by_row else size, size):
            for name, buffer in whole.inputs.items():
                small.inputs[name][...] = buffer[start : start + size] if name in self._by_row else buffer
            small.run()
            for name, values in small.outputs.items():
                if not np.array_equal(values, whole.outputs[name][start : start + size], equal_nan=True):
                    return False
        return True


def _open_session(content: bytes, name: str) -> onnxruntime.InferenceSession:
    """A session that runs on the calling thread alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise InputError(f"{name} is no network that ONNX Runtime {onnxruntime.__version__} reads: {error}") from None
