"""What is exported of a network gives the logits of its forward pass, for every system."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from configs.errors import InputError
from configs.schema import TablePrecision
from prerank.encoding.batches import Batch, EncodedLog
from prerank.exporting.features import describe_history, describe_side, tensors_of
from prerank.exporting.graphs import Dense, write_graph
from prerank.exporting.networks import _computed_later, item_sides
from prerank.exporting.scores import served
from prerank.exporting.tables import Tensors
from prerank.network.history import HistoryNetwork
from prerank.network.pre_ranking import ServingNetwork
from prerank.serving.features import Encoded
from prerank.serving.lookups import id_buckets, part_of, side_by_side
from prerank.training.network_system import NetworkSystem
from tests.prerank.exporting.conftest import ARCHITECTURES, NETWORKS

SystemOf = Callable[[str], NetworkSystem]


def encoded_side(encoded: EncodedLog, batch: Batch, side: str) -> Encoded:
    """A side of a batch as the runtime holds it."""
    schema, features = encoded.schema.sides[side], batch.sides[side]
    ids = {name: features.ids[:, place].numpy() for place, name in enumerate(schema.ids)}
    numbers = {each.name: features.numbers[:, place].numpy() for place, each in enumerate(schema.numbers)}
    return Encoded(len(batch), ids, numbers, {name: values.numpy() for name, values in features.lists.items()})


def rows_of_requests(encoded: EncodedLog, *requests: int) -> Batch:
    split = encoded.split("test")
    return split.batch(np.flatnonzero(np.isin(split.request, requests)))


def looked_up_by_the_runtime(network: ServingNetwork, encoded: EncodedLog, batch: Batch, side: str) -> Tensor:
    """What the runtime's NumPy makes of a side's parts as they are described."""
    tensors = Tensors(network, TablePrecision.fp32)
    described = describe_side(network.sides()[side], side, tensors, 0, None)
    parts = [part_of(entry, tensors.arrays) for entry in described["parts"]]
    assert sum(part.width for part in parts) == described["width"]
    return torch.from_numpy(side_by_side(parts, encoded_side(encoded, batch, side), batch.item_hash.numpy()))


def inputs_of(network: ServingNetwork, system: NetworkSystem, batch: Batch) -> dict[str, Tensor]:
    """The inputs of the served score for a batch of one request."""
    piece = served(network, system.task_logits)
    request = torch.cat([*_looked_up(network, batch, "request")], dim=1)[:1]
    sides = {
        "item": torch.cat(network.item_side(batch.item_hash, batch.sides["item"]), dim=1),
        "request": request if piece.request is None else piece.request(request),
        "pair": torch.cat([*network.pair_side(batch.sides["pair"]), request.new_zeros(len(batch), 0)], dim=1),
    }
    if isinstance(network, HistoryNetwork):
        histories = network.histories_of(batch)
        sides |= {"history": histories.history[0], "present": histories.present[0]}
    return {name: sides[name] for name in piece.score.names}


def _looked_up(network: ServingNetwork, batch: Batch, side: str) -> list[Tensor]:
    """What a side looks up: two towers pass it on."""
    encoder = getattr(network, "request", None)
    return [encoder(batch.sides[side])] if encoder is not None else network.request_side(batch.sides[side])


def expected_of(system: NetworkSystem, batch: Batch) -> list[np.ndarray]:
    outputs = system(batch)
    heads = (*system.task_logits(outputs), outputs.rank)
    return [head.numpy() for head in heads if head is not None]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_runtime_looks_up_what_the_network_looks_up(
    name: str, system_of: SystemOf, encoded_market: EncodedLog
) -> None:
    network = system_of(name).network
    batch, sides = rows_of_requests(encoded_market, 0, 3, 7), network.sides()
    tensors = Tensors(network, TablePrecision.fp32)
    with torch.no_grad():
        expected = {
            "item": network.item_side(batch.item_hash, batch.sides["item"]),
            "request": network.request_side(batch.sides["request"]),
            "pair": network.pair_side(batch.sides["pair"]),
        }
        for side, parts in sides.items():
            if not parts.parts:
                assert not expected[side] or expected[side][0].shape[1] == 0
                continue
            found = looked_up_by_the_runtime(network, encoded_market, batch, side)
            assert found.shape[1] == parts.width
            if parts.dense is not None:
                found = Dense(parts.dense, [*tensors_of(sides), *_computed_later(network)])(found)
            torch.testing.assert_close(found, torch.cat(expected[side], dim=1), rtol=1e-5, atol=1e-5)
        history = describe_history(network, tensors)
        if isinstance(network, HistoryNetwork):
            assert history is not None
            hashes = np.concatenate([batch.sides["request"].lists[each][0].numpy() for each in history["columns"]])
            found = (
                torch.from_numpy(id_buckets(history, tensors.arrays)(hashes)) * torch.from_numpy(hashes != 0)[:, None]
            )
            torch.testing.assert_close(found, network.histories_of(batch).history[0])
            assert (hashes != 0).any()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_served_score_is_the_forward_passs(name: str, system_of: SystemOf, encoded_market: EncodedLog) -> None:
    system = system_of(name)
    with torch.no_grad():
        batch = rows_of_requests(encoded_market, 5)
        score = served(system.network, system.task_logits).score
        expected = expected_of(system, batch)
        for found, logits in zip(score(*inputs_of(system.network, system, batch).values()), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), logits, rtol=1e-5, atol=1e-5)
    assert len(batch) > 1
    assert any(np.ptp(logits, axis=0).max() > 1e-3 for logits in expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_graphs_give_the_logits_of_the_forward_pass(
    name: str, system_of: SystemOf, encoded_market: EncodedLog, tmp_path: Path
) -> None:
    system = system_of(name)
    network = system.network
    with torch.no_grad():
        batch, sides = rows_of_requests(encoded_market, 5), network.sides()
        piece, expected = served(network, system.task_logits), expected_of(system, batch)
        inputs = inputs_of(network, system, batch)
        if sides["item"].dense is not None:
            looked_up = looked_up_by_the_runtime(network, encoded_market, batch, "item")
            dense = Dense(sides["item"].dense, [*tensors_of(sides), *_computed_later(network)])
            write_graph(dense, {"item": looked_up}, ["output"], ["item"], tmp_path / "item")
            inputs["item"] = run(tmp_path / "item.onnx", {"item": looked_up})[0]
        if piece.request is not None:
            looked_up = looked_up_by_the_runtime(network, encoded_market, batch, "request")[:1]
            write_graph(piece.request, {"request": looked_up}, ["output"], [], tmp_path / "request")
            inputs["request"] = run(tmp_path / "request.onnx", {"request": looked_up})[0]
        score = piece.score
        write_graph(score, inputs, score.heads, ["item", "pair"], tmp_path / "network")
        session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
        assert [each.name for each in session.get_outputs()] == score.heads
        assert {each.name for each in session.get_inputs() if each.shape[0] == "n"} == {"item", "pair"} & {*inputs}
        one = {key: value[:1] if key in ("item", "pair") else value for key, value in inputs.items()}
        for given, rows in ((inputs, len(batch)), (one, 1)):
            for found, logits in zip(run(tmp_path / "network.onnx", given), expected, strict=True):
                np.testing.assert_allclose(found.numpy(), logits[:rows], rtol=1e-5, atol=1e-5)


def run(path: Path, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    outputs = onnxruntime.InferenceSession(path).run(None, {name: value.numpy() for name, value in inputs.items()})
    return [torch.from_numpy(output) for output in outputs]


def test_an_exported_program_is_read_back(system_of: SystemOf, encoded_market: EncodedLog, tmp_path: Path) -> None:
    system = system_of("din")
    batch = rows_of_requests(encoded_market, 5)
    with torch.no_grad():
        score = served(system.network, system.task_logits).score
        inputs = inputs_of(system.network, system, batch)
        write_graph(score, inputs, score.heads, ["item", "pair"], tmp_path / "network")
        program = torch.export.load(tmp_path / "network.pt2")
        for found, logits in zip(program.module()(*inputs.values()), score(*inputs.values()), strict=True):
            torch.testing.assert_close(found, logits)


def test_a_dense_side_holds_no_table_and_nothing_that_it_does_not_use(system_of: SystemOf) -> None:
    network = system_of("din").network
    before = copy.deepcopy(network.state_dict())
    sides = network.sides()
    assert sides["item"].dense is not None
    dense = Dense(sides["item"].dense, [*tensors_of(sides), *_computed_later(network)])
    dense.forget_unused(torch.zeros(3, sides["item"].width))
    used = sum(each.numel() for each in dense.parameters())
    assert used == sum(each.numel() for each in network.item_network.layers.parameters())  # type: ignore[union-attr]
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_the_item_sides_of_the_catalogue_are_those_of_its_rows(system_of: SystemOf, encoded_market: EncodedLog) -> None:
    network = system_of("din").network
    vectors, widths = item_sides(network, encoded_market)
    assert vectors.shape == (encoded_market.schema.n_items, sum(widths))
    batch = rows_of_requests(encoded_market, 2)
    with torch.no_grad():
        expected = torch.cat(network.item_side(batch.item_hash, batch.sides["item"]), dim=1)
    np.testing.assert_allclose(vectors[batch.item.numpy()], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_a_network_without_item_and_pair_is_refused(system_of: SystemOf) -> None:
    system = system_of("ple")
    with pytest.raises(InputError, match="is no network that can be exported"):
        served(torch.nn.Linear(1, 1), system.task_logits)
