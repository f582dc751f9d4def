"""A training that is killed at any moment goes on to the same bits, and what it leaves is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from configs.command import parse
from configs.errors import InputError
from prerank.encoding.batches import EncodedLog
from prerank.systems.ple import PLE
from prerank.training import checkpoints, network_system, table_files
from prerank.training.checkpoints import WholeCheckpoints
from prerank.training.contracts import Predictions, Work
from prerank.training.network_system import NetworkSystem, fit_network

SETTINGS = (
    "model=ple", "model.item.hash_vocabulary=500", "model.buckets=64", "model.dimension=4", "model.experts.hidden=[16]",
    "prerank.batch_size=16", "prerank.validations_per_epoch=3", "prerank.max_epochs=2", "prerank.patience=2",
    "prerank.threads=1", "data.cutoffs=[3,5]",
)  # fmt: skip
"""384 rows are 24 steps an epoch: with ten steps between validations, four of them."""


def test_a_failed_write_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    writer = WholeCheckpoints()
    writer.save_checkpoint({"step": 1}, path)

    def half(_checkpoint, target):
        target.write_bytes(b"half")
        raise RuntimeError("file write failed")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(RuntimeError):
        writer.save_checkpoint({"step": 2}, path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def work_in(folder: Path, encoded: EncodedLog, *overrides: str) -> Work:
    return Work(parse([*SETTINGS, *overrides]).config, encoded, None, folder)


def fit(folder: Path, encoded: EncodedLog, *overrides: str, seed: int = 3) -> Predictions:
    work = work_in(folder, encoded, *overrides)
    torch.manual_seed(seed)
    return fit_network(PLE(work), work).predict(encoded.split("test"))


def same(one: Predictions, other: Predictions) -> bool:
    return one.click.tobytes() == other.click.tobytes() and one.order.tobytes() == other.order.tobytes()


class _KilledError(BaseException):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_encoded_log) -> Predictions:
    """Of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    predictions = fit(folder, small_encoded_log)
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "rows"}
    return predictions


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("what", ["rows", "last.ckpt", "after last.ckpt"])
def test_a_training_killed_while_it_writes_resumes_to_the_same_bits(
    tmp_path, monkeypatch, small_encoded_log, whole, at, what
):
    """Killed at the first, second, … file of that kind: half of it lies there, nothing is tidied up."""
    calls = []
    replaces = Path.replace

    def killed(self, target):
        target = Path(target)
        mine = target.name == "last.ckpt" if "last" in what else target.parent.name == "rows"
        if mine:
            calls.append(target.name)
        if mine and len(calls) == at:
            if "after" in what:
                replaces(self, target)
            else:
                self.write_bytes(self.read_bytes()[: self.stat().st_size // 2])
            raise _KilledError
        return replaces(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(_KilledError):
            fit(tmp_path, small_encoded_log)
    resumed = fit(tmp_path, small_encoded_log, seed=4 if _begun(tmp_path) else 3)
    assert same(resumed, whole)


def _begun(folder: Path) -> bool:
    return (folder / "checkpoints" / "last.ckpt").exists()


def test_a_training_killed_during_the_base_starts_over(tmp_path, monkeypatch, small_encoded_log, whole):
    """The thread is in the middle of its file when a step fails."""
    blocked, original = threading.Event(), table_files._write

    def slow(path, _parts):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.1.tmp").write_bytes(b"half")
        blocked.wait(20)
        raise OSError("the process is gone")

    def step(self, batch, index):
        if self.global_step == 4:
            blocked.set()
            raise _KilledError
        return steps(self, batch, index)

    steps = NetworkSystem.training_step
    with monkeypatch.context() as patched:
        patched.setattr(table_files, "_write", slow)
        patched.setattr(NetworkSystem, "training_step", step)
        with pytest.raises(_KilledError):
            fit(tmp_path, small_encoded_log)
    assert table_files._write is original
    assert not _begun(tmp_path)
    assert same(fit(tmp_path, small_encoded_log), whole)


CHILD = """
import sys, time
from pathlib import Path
import torch
from prerank.encoding.batches import EncodedLog
from prerank.training import table_files
from tests.prerank.training.test_checkpoints import fit
written = table_files._write
def slow(path, parts):
    written(path, parts)  # then once more, in vain, under the other name that a kill leaves
    path.with_name(f".{path.name}.9.tmp").write_bytes(b"half")
    time.sleep(0.3)
table_files._write = slow
fit(Path(sys.argv[1]), EncodedLog.open(Path(sys.argv[2])))
"""


@pytest.mark.parametrize("files", [1, 2, 3])
def test_a_process_that_is_killed_resumes_to_the_same_bits(tmp_path, small_encoded_log, whole, files):
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(small_encoded_log.folder)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[3])
    rows, deadline = tmp_path / "checkpoints" / "rows", time.monotonic() + 200
    while len(list(rows.glob("*.safetensors"))) < files:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert same(fit(tmp_path, small_encoded_log), whole)


def test_a_training_that_had_ended_is_only_read(tmp_path, monkeypatch, small_encoded_log, whole):
    with monkeypatch.context() as patched:

        def killed(*_):
            raise _KilledError

        patched.setattr(network_system, "conclude", killed)
        with pytest.raises(_KilledError):
            fit(tmp_path, small_encoded_log)
    assert same(fit(tmp_path, small_encoded_log), whole)
    monkeypatch.setattr(network_system, "_train", lambda *_: pytest.fail("trained again"))
    assert same(fit(tmp_path, small_encoded_log, seed=5), whole)


def test_a_training_of_other_batches_is_not_resumed(tmp_path, monkeypatch, small_encoded_log):
    """What stops the training before its first step is what is raised."""
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "remove_others", lambda *_: (_ for _ in ()).throw(_KilledError))
        with pytest.raises(_KilledError):
            fit(tmp_path, small_encoded_log)
    with pytest.raises(InputError, match=r"prerank\.batch_size and seed"):
        fit(tmp_path, small_encoded_log, "prerank.batch_size=32")


def test_a_training_that_stopped_early_does_not_go_on(tmp_path, monkeypatch, small_encoded_log):
    """Killed right after the checkpoint of the validation that said stop."""
    monkeypatch.setattr(network_system, "validation_objective", lambda _: 0.5)
    expected = fit(tmp_path / "whole", small_encoded_log)
    best = torch.load(tmp_path / "whole" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == 10
    with monkeypatch.context() as patched:

        def killed(*_):
            raise _KilledError

        patched.setattr(network_system, "conclude", killed)
        with pytest.raises(_KilledError):
            fit(tmp_path / "cut", small_encoded_log)
    last = torch.load(tmp_path / "cut" / "checkpoints" / "last.ckpt", weights_only=True)
    assert (last["ended"], last["global_step"]) == (True, 34)
    monkeypatch.setattr(network_system, "_train", lambda *_: pytest.fail("trained on"))
    assert same(fit(tmp_path / "cut", small_encoded_log, seed=5), expected)


def test_a_checkpoint_of_an_older_version(tmp_path, small_encoded_log, whole, capsys):
    """A training that it left is begun again; a system that it fitted, tables and all in one file, is read."""
    fit(tmp_path, small_encoded_log)
    module = PLE(work_in(tmp_path, small_encoded_log))
    checkpoints.load_weights(module, tmp_path / "checkpoints" / "best.ckpt")
    for name in ("last.ckpt", "best.ckpt"):
        torch.save({"state_dict": module.state_dict(), "global_step": 10}, tmp_path / "checkpoints" / name)
    assert same(fit(tmp_path, small_encoded_log), whole)
    assert "older version" in capsys.readouterr().out
    torch.save({"state_dict": module.state_dict()}, tmp_path / "checkpoints" / "best.ckpt")
    assert same(PLE.load(work_in(tmp_path, small_encoded_log)).predict(small_encoded_log.split("test")), whole)


def test_nothing_that_is_read_back_can_run_code(tmp_path, small_encoded_log):
    class Runs:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": Runs()}, tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt is not a readable checkpoint.*delete it"):
        fit(tmp_path, small_encoded_log)
    assert not (tmp_path / "ran").exists()
