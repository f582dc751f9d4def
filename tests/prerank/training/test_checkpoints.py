"""A checkpoint is whole or not there."""

from __future__ import annotations

import pytest
import torch

from prerank.training.checkpoints import WholeCheckpoints


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
