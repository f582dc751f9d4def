"""Lightning checkpoints that are whole or not there: a training killed in the middle of one resumes from the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from configs.stages import replacing


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the file and renames; Lightning's own copies over the old file, from another disk if need be."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: if the disk is full; the checkpoint that was there is kept.
        """
        assert storage_options is None
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
