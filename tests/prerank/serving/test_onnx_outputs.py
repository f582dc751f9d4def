"""A model that loses outputs keeps what the others need, to the bit, and nothing else."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from prerank.serving.network import Network, Threads
from prerank.serving.onnx_outputs import with_outputs

HEADS = ("click", "order", "rank")


@pytest.mark.parametrize("names", [chosen for count in (1, 2, 3) for chosen in combinations(HEADS, count)])
def test_outputs(names: tuple[str, ...], hand_bundle: Any) -> None:
    content = (hand_bundle.folder / "network.onnx").read_bytes()
    part = with_outputs(content, names)
    model, whole = onnx.load_from_string(part), onnx.load_from_string(content)
    onnx.checker.check_model(model)
    assert [output.name for output in model.graph.output] == list(names)
    assert len(model.graph.node) == len(whole.graph.node) - 2 + len({"click", "order"} & set(names))
    assert [each.name for each in model.graph.input] == [each.name for each in whole.graph.input]
    threads = Threads(1)
    assert Network(content, "whole", threads).agrees(Network(part, "part", threads))
    if len(names) == len(HEADS):
        assert model == whole


def test_branches_that_nobody_needs_go() -> None:
    """However long, and also where two of them share a node."""
    names = ("x", "a", "b")
    x, a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in names)
    node = helper.make_node
    nodes = [
        node("Relu", ["x"], ["shared"]),
        node("Neg", ["shared"], ["a1"]),
        node("Exp", ["a1"], ["a2"]),
        node("Abs", ["a2"], ["a"]),
        node("Sqrt", ["shared"], ["b"]),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [a, b]))
    for name, operators in (("a", ["Relu", "Neg", "Exp", "Abs"]), ("b", ["Relu", "Sqrt"])):
        part = onnx.load_from_string(with_outputs(model.SerializeToString(), [name]))
        assert [each.op_type for each in part.graph.node] == operators


@pytest.mark.parametrize("content", [b"\x3a\x05ab", b"\x3b", b"\xff", b"\x3a\xff\xff\xff\xff\xff\xff", b"\x09\x00"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"byte|number"):
        with_outputs(content, ["click"])


def test_a_network_that_differs_does_not_agree(hand_bundle: Any) -> None:
    model = onnx.load_from_string((hand_bundle.folder / "network.onnx").read_bytes())
    whole = Network(model.SerializeToString(), "whole", Threads(1))
    weights = next(each for each in model.graph.initializer if each.name == "heads")
    changed = np.frombuffer(weights.raw_data, np.float32).copy()
    changed[0] = np.nextafter(changed[0], 10)
    weights.raw_data = changed.tobytes()
    assert not whole.agrees(Network(model.SerializeToString(), "other", Threads(1)))
