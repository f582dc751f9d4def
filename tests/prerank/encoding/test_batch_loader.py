"""Every epoch is every row once; and resuming a real training in the middle of an epoch, row by row."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as lightning
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from configs.errors import InputError
from prerank.encoding.batch_loader import BatchLoader
from prerank.encoding.batches import Batch, EncodedLog, EncodedSplit

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]


def rows_of(loader: BatchLoader) -> list[list[int]]:
    return [batch.row.tolist() for batch in loader]


@pytest.fixture(scope="module")
def encoded(small_encoded_log: EncodedLog) -> EncodedLog:
    return small_encoded_log


@pytest.fixture(scope="module")
def train(encoded: EncodedLog) -> EncodedSplit:
    return encoded.split("train")


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("batch_size", [1, 7, 383, 384, 1000])
def test_an_epoch_is_every_row_once(train: EncodedSplit, batch_size: int, seed: int | None) -> None:
    loader = BatchLoader(train, batch_size, seed)
    batches = rows_of(loader)
    assert len(batches) == len(loader)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    joined = [row for batch in batches for row in batch]
    assert sorted(joined) == list(range(train.rows))
    assert (joined == sorted(joined)) is (seed is None or len(batches) == 1)


def test_a_fresh_loader_stands_before_the_first_batch_of_the_first_epoch(train: EncodedSplit) -> None:
    state = BatchLoader(train, 50, 0).state_dict()
    assert (state["epoch"], state["handed_out"]) == (0, 0)


def test_the_shuffle_is_a_function_of_seed_and_epoch(train: EncodedSplit) -> None:
    def epoch(seed: int, number: int) -> list[list[int]]:
        loader = BatchLoader(train, 50, seed)
        loader.set_epoch(number)
        return rows_of(loader)

    assert epoch(0, 1) == epoch(0, 1)
    assert epoch(0, 1) != epoch(0, 0)
    assert epoch(0, 1) != epoch(1, 1)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 60),
    batch_size=st.integers(1, 25),
    stops=st.lists(st.integers(1, 5), max_size=8),
    seed=st.one_of(st.none(), st.integers(0, 9)),
)
def test_any_interruptions_leave_every_row_once(rows: int, batch_size: int, stops: list[int], seed: int | None) -> None:
    class Numbers:
        def __init__(self) -> None:
            self.rows = rows

        def batch(self, chosen: np.ndarray) -> np.ndarray:
            return chosen

    seen: list[int] = []
    state = None
    for stop in [*stops, None]:
        loader = BatchLoader(Numbers(), batch_size, seed)  # type: ignore[arg-type]
        loader.set_epoch(2)
        if state is not None:
            loader.load_state_dict(state)
        for batches, batch in enumerate(loader, start=1):
            seen += batch.tolist()  # type: ignore[attr-defined]
            if batches == stop:
                break
        state = loader.state_dict()
    assert sorted(seen) == list(range(rows))


def test_batches_of_whole_requests_hold_lists_in_a_new_order_each_epoch(train: EncodedSplit) -> None:
    loader = BatchLoader(train, 64, seed=0, whole_requests=True)
    epochs = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        batches = list(loader)
        rows = np.concatenate([np.asarray(batch.row) for batch in batches])
        assert sorted(rows.tolist()) == list(range(train.rows))
        cut = sum(len(set(a.request.tolist()) & set(b.request.tolist())) for a, b in pairwise(batches))
        assert cut <= len(batches) - 1, "a request lies in more than its batch and the next"
        for batch in batches:
            assert (np.diff(np.asarray(batch.row))[np.diff(np.asarray(batch.request)) == 0] == 1).all()
        epochs.append(rows)
    assert not np.array_equal(*epochs)
    with pytest.raises(InputError, match="whole_requests"):
        BatchLoader(train, 64, seed=0).load_state_dict(loader.state_dict())
    with pytest.raises(InputError, match="whole_requests"):
        loader.load_state_dict(BatchLoader(train, 64, seed=0).state_dict())


def test_a_state_of_another_batch_size_is_refused(train: EncodedSplit) -> None:
    state = BatchLoader(train, 50, 0).state_dict()
    with pytest.raises(InputError, match=r"'batch_size': 50.*now it is.*'batch_size': 51"):
        BatchLoader(train, 51, 0).load_state_dict(state)
    with pytest.raises(ValueError, match="at least 1"):
        BatchLoader(train, 0)


class Recorder(lightning.LightningModule):
    """Learns next to nothing and remembers the rows that it was given, by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.trained: list[tuple[int, list[int]]] = []
        self.validated: list[list[int]] = []

    def training_step(self, batch: Batch, _index: int) -> torch.Tensor:
        self.trained.append((self.current_epoch, batch.row.tolist()))
        loss: torch.Tensor = (self.layer(batch.clicked.unsqueeze(1)) ** 2).mean()
        return loss

    def validation_step(self, batch: Batch, _index: int) -> None:
        self.validated.append(batch.row.tolist())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Kill(Callback):
    """Stops the process's training after a step, as a signal would: nothing more is saved."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_start(self, trainer: lightning.Trainer, *_arguments: Any) -> None:
        if trainer.global_step == self.after:
            raise RuntimeError("killed")


def run(
    encoded: EncodedLog, folder: Path, callbacks: list[Callback], resume: bool, **options: Any
) -> tuple[Recorder, lightning.Trainer]:
    trainer = lightning.Trainer(
        default_root_dir=folder,
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **{"num_sanity_val_steps": 0, **options},
    )
    module = Recorder()
    loaders = BatchLoader(encoded.split("train"), 50, seed=3), BatchLoader(encoded.split("validation"), 20)
    path = folder / "last.ckpt" if resume else None
    trainer.fit(module, *loaders, ckpt_path=path, weights_only=True)
    return module, trainer


def expected_epochs(encoded: EncodedLog) -> list[tuple[int, list[int]]]:
    loader = BatchLoader(encoded.split("train"), 50, seed=3)
    epochs = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        epochs += [(epoch, batch.row.tolist()) for batch in loader]
    return epochs


STEPS = 8  # batches of an epoch: 384 rows, 50 at a time


def test_lightning_trains_each_epoch_on_every_row_in_a_new_order(encoded: EncodedLog, tmp_path: Path) -> None:
    callbacks: list[Callback] = [ModelCheckpoint(tmp_path, "last", every_n_train_steps=3)]
    module, _ = run(encoded, tmp_path, callbacks, resume=False, val_check_interval=3, num_sanity_val_steps=1)
    assert module.trained == expected_epochs(encoded)
    assert len(module.trained) == 3 * STEPS
    in_order = [list(range(0, 20)), list(range(20, 40)), list(range(40, 48))]
    assert module.validated == [in_order[0], *in_order * 6]


@pytest.mark.parametrize(
    ("killed_at", "save_every", "validate_every"),
    [
        (5, 3, 8),  # within the first epoch
        (5, 3, 2),  # after a validation
        (4, 3, 3),  # saved right before a validation
        (8, 1, 8),  # at the last batch of an epoch
        (9, 8, 3),  # the last save was at the last batch of an epoch
        (13, 4, 2),  # within the second epoch
        (13, 1, 3),
    ],
)
def test_a_killed_training_resumes_with_the_rows_that_are_left(
    encoded: EncodedLog, tmp_path: Path, killed_at: int, save_every: int, validate_every: int
) -> None:
    def callbacks() -> list[Callback]:
        return [ModelCheckpoint(tmp_path, "last", every_n_train_steps=save_every, enable_version_counter=False)]

    with pytest.raises(RuntimeError, match="killed"):
        run(encoded, tmp_path, [*callbacks(), Kill(killed_at)], resume=False, val_check_interval=validate_every)
    saved = killed_at // save_every * save_every
    module, trainer = run(encoded, tmp_path, callbacks(), resume=True, val_check_interval=validate_every)
    assert module.trained == expected_epochs(encoded)[saved:]
    assert trainer.global_step == 3 * STEPS


@pytest.mark.parametrize("killed_at", [4, 7, 10])
def test_a_checkpoint_after_a_validation_resumes_alike(encoded: EncodedLog, tmp_path: Path, killed_at: int) -> None:
    """As training does it: the checkpoint is written at the end of a validation within the epoch."""

    def callbacks() -> list[Callback]:
        return [ModelCheckpoint(tmp_path, "last", enable_version_counter=False, save_on_train_epoch_end=False)]

    with pytest.raises(RuntimeError, match="killed"):
        run(encoded, tmp_path, [*callbacks(), Kill(killed_at)], resume=False, val_check_interval=3)
    saved = {4: 3, 7: 6, 10: 6}[killed_at]
    module, _ = run(encoded, tmp_path, callbacks(), resume=True, val_check_interval=3)
    assert module.trained == expected_epochs(encoded)[saved:]


def test_a_checkpoint_at_the_end_of_an_epoch_starts_the_next(encoded: EncodedLog, tmp_path: Path) -> None:
    def callbacks() -> list[Callback]:
        return [ModelCheckpoint(tmp_path, "last", enable_version_counter=False, save_on_train_epoch_end=True)]

    with pytest.raises(RuntimeError, match="killed"):
        run(encoded, tmp_path, [*callbacks(), Kill(STEPS + 2)], resume=False)
    module, _ = run(encoded, tmp_path, callbacks(), resume=True)
    assert module.trained == expected_epochs(encoded)[STEPS:]


def test_all_rows_of_an_epoch_are_counted_once_over_both_parts(encoded: EncodedLog, tmp_path: Path) -> None:
    saves = ModelCheckpoint(tmp_path, "last", every_n_train_steps=5, enable_version_counter=False)
    first = Recorder()
    trainer = lightning.Trainer(
        default_root_dir=tmp_path,
        max_steps=5,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        callbacks=[saves],
        val_check_interval=2,
    )
    loaders = BatchLoader(encoded.split("train"), 50, seed=3), BatchLoader(encoded.split("validation"), 20)
    trainer.fit(first, *loaders)
    second, _ = run(encoded, tmp_path, [], resume=True, val_check_interval=2)
    rows = Counter(row for epoch, batch in [*first.trained, *second.trained] if epoch == 0 for row in batch)
    assert rows == Counter(range(encoded.split("train").rows))


def test_mixed_precision_copies_batches(encoded: EncodedLog, tmp_path: Path) -> None:
    module, _ = run(encoded, tmp_path, [], resume=False, precision="bf16-mixed", enable_checkpointing=False)
    assert len(module.trained) == 3 * STEPS
