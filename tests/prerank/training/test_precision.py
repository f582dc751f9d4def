"""bf16 is taken where it is faster, refused where it is slower, and never reaches tables, logits or losses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from configs.command import parse
from configs.errors import InputError
from prerank.encoding.batches import EncodedLog
from prerank.systems.ple import PLE
from prerank.training import network_system, precision
from prerank.training.contracts import Work
from prerank.training.network_system import NetworkSystem, fit_network
from prerank.training.precision import PrecisionTimes, choose_precision, measure_precisions

FASTER, SLOWER, EQUAL = PrecisionTimes(20.0, 10.0), PrecisionTimes(20.0, 4000.0), PrecisionTimes(20.0, 19.0)


def never() -> PrecisionTimes:
    pytest.fail("measured in vain")


def test_the_faster_one_is_taken_and_a_slower_one_refused_with_both_figures() -> None:
    assert choose_precision("32-true", never) == ("32-true", None)
    assert choose_precision("auto", lambda: FASTER) == ("bf16-mixed", FASTER)
    assert choose_precision("auto", lambda: SLOWER) == ("32-true", SLOWER)
    assert choose_precision("auto", lambda: EQUAL) == ("32-true", EQUAL)
    assert choose_precision("bf16-mixed", lambda: EQUAL) == ("bf16-mixed", EQUAL)
    with pytest.raises(InputError, match=r"20\.0 ms in 32-true, 4000\.0 in bf16-mixed; use prerank.precision=32-true"):
        choose_precision("bf16-mixed", lambda: SLOWER)


def work_in(folder: Path, encoded: EncodedLog, *overrides: str) -> Work:
    small = ("model=ple", "model.experts.hidden=[16]", "model.experts.dropout=0.5", "prerank.max_epochs=2")
    return Work(parse([*small, "prerank.batch_size=32", *overrides]).config, encoded, None, folder)


def test_measuring_draws_no_number_and_leaves_no_gradient(tmp_path: Path, small_encoded_log: EncodedLog) -> None:
    torch.manual_seed(0)
    network = PLE(work_in(tmp_path, small_encoded_log)).network
    expected, weights = torch.random.get_rng_state(), [each.clone() for each in network.parameters()]
    for batch_size in (1, 100, 10_000):
        times = measure_precisions(network, small_encoded_log.split("train"), batch_size)
        assert times.full_ms > 0
        assert times.mixed_ms > 0
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), weights, strict=True))
    assert all(each.grad is None for each in network.parameters())
    assert network.training


def test_where_bf16_is_hopeless_a_few_rows_tell(tmp_path: Path, small_encoded_log: EncodedLog, monkeypatch) -> None:
    rows = []

    def slow(_network: object, batch: object) -> None:
        mixed = torch.is_autocast_enabled("cpu")
        rows.append((mixed, len(batch)))
        if mixed:
            precision.time.sleep(0.01)

    monkeypatch.setattr(precision, "backward", slow)
    network = PLE(work_in(tmp_path, small_encoded_log)).network
    times = measure_precisions(network, small_encoded_log.split("train"), 320)
    assert times.mixed_ms >= 100
    assert {count for mixed, count in rows if mixed} == {32}


def test_mixed_precision_leaves_logits_and_tables_in_float32(tmp_path: Path, small_encoded_log: EncodedLog) -> None:
    module = PLE(work_in(tmp_path, small_encoded_log))
    batch = next(iter(network_system.BatchLoader(small_encoded_log.split("train"), 200)))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module(batch)
    for logits in (outputs.click, outputs.order):
        assert logits.dtype == torch.float32
        assert not torch.equal(logits, logits.bfloat16().float())
    assert module.network.item_network.hash_id(batch.item_hash).dtype == torch.float32


def test_a_fit_says_what_it_took_and_a_resumed_one_keeps_it(
    tmp_path: Path, small_encoded_log: EncodedLog, monkeypatch, capsys
) -> None:
    class Killed(BaseException):
        pass

    def step(self: NetworkSystem, batch: object, index: int) -> torch.Tensor:
        assert torch.is_autocast_enabled("cpu")
        if self.global_step == 15 and not resumed:
            raise Killed
        return steps(self, batch, index)

    steps, resumed = NetworkSystem.training_step, False
    monkeypatch.setattr(NetworkSystem, "training_step", step)
    work = work_in(tmp_path, small_encoded_log, "prerank.precision=auto")
    monkeypatch.setattr(network_system, "measure_precisions", lambda *_: FASTER)
    with pytest.raises(Killed):
        fit_network(PLE(work), work)
    assert "prerank.precision=bf16-mixed" in capsys.readouterr().out
    resumed = True
    monkeypatch.setattr(network_system, "measure_precisions", lambda *_: SLOWER)
    fit_network(PLE(work), work)
    assert json.loads((tmp_path / "training.json").read_text())["precision"] == "bf16-mixed"
    other = work_in(tmp_path / "other", small_encoded_log, "prerank.precision=bf16-mixed")
    with pytest.raises(InputError, match="slower on this machine"):
        fit_network(PLE(other), other)
