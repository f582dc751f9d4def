"""Dense networks as files: an exported program of torch, and ONNX."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

ROWS = "n"
"""Name of the dimension that is as long as there are candidates, or items."""
EXAMPLE_ROWS = 7
"""Rows that graphs are traced with; 0 and 1 would be taken for constants."""


class Dense(nn.Module):
    """What a side passes through, as a module without the tables that are looked up outside.

    Args:
        function: a method of a module.
        outside: tensors that it does not use: they are left out of the copy.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], outside: Sequence[Tensor]) -> None:
        super().__init__()
        owner: nn.Module = function.__self__  # type: ignore[attr-defined]
        nothing = {id(tensor): _nothing_like(tensor) for tensor in outside}
        self.owner = copy.deepcopy(owner, nothing)
        self.function = function.__func__  # type: ignore[attr-defined]

    def forget_unused(self, example: Tensor) -> None:
        """Empty the parameters that the function does not use, so that they are in no file."""
        parameters = [parameter.requires_grad_(True) for parameter in self.parameters()]
        gradients = torch.autograd.grad(self(example).sum(), parameters, allow_unused=True)
        unused = [each for each, gradient in zip(parameters, gradients, strict=True) if gradient is None]
        for parameter in unused:
            parameter.data = torch.empty(0)

    def forward(self, looked_up: Tensor) -> Tensor:
        output: Tensor = self.function(self.owner, looked_up)
        return output


def _nothing_like(tensor: Tensor) -> Tensor:
    empty = torch.empty(0, dtype=tensor.dtype)
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


def write_graph(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], dynamic: Sequence[str], path: Path
) -> None:
    """Write ``<path>.pt2`` and ``<path>.onnx``.

    Args:
        module: called with the inputs in their order.
        inputs: an example of each, by name.
        outputs: their names.
        dynamic: the inputs whose first dimension is the number of rows.
        path: without ending.
    """
    rows = torch.export.Dim(ROWS)
    shapes = tuple({0: rows} if name in dynamic else None for name in inputs)
    module = module.eval().requires_grad_(False)
    with torch.no_grad(), _quiet():
        program = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=_of_signature(module, shapes))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        program.example_inputs = None  # which would be written by pickle
        torch.export.save(program, path.with_suffix(".pt2"))
        exported = torch.onnx.export(
            program, input_names=list(inputs), output_names=list(outputs), dynamo=True, optimize=True, verbose=False
        )
    assert exported is not None
    model = exported.model_proto
    _forget_origins(model)
    for each in (*model.graph.input, *model.graph.output):
        if each.name in (*dynamic, *outputs) and each.type.tensor_type.shape.dim[0].dim_param:
            each.type.tensor_type.shape.dim[0].dim_param = ROWS
    onnx.checker.check_model(model)
    path.with_suffix(".onnx").write_bytes(model.SerializeToString(deterministic=True))


def _of_signature(module: nn.Module, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """As a module wants them that takes any number of inputs."""
    variadic = any(each.kind is each.VAR_POSITIONAL for each in signature(module.forward).parameters.values())
    return (shapes,) if variadic else shapes


def _forget_origins(model: onnx.ModelProto) -> None:
    """Where each node came from: files of this machine, of no use to a reader, and not the same on another."""
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        for each in (
            graph,
            *graph.node,
            *graph.value_info,
            *getattr(graph, "input", []),
            *getattr(graph, "output", []),
        ):
            if hasattr(each, "metadata_props"):
                del each.metadata_props[:]
            if hasattr(each, "doc_string"):
                each.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks of its own progress."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
