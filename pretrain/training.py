"""The training loop of the graph encoder: early stopping on validation MRR, a checkpoint an epoch, resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn import functional as F

from configs.console import progress
from configs.errors import InputError
from configs.schema import GraphObjective, PretrainConfig
from configs.stages import replacing, write_json
from pretrain.backends.batch import Batches, TargetBatch, ahead
from pretrain.encoder import GraphEncoder
from pretrain.negatives import KnownPairs, SameCategoryNegatives
from pretrain.objective import graphsage_loss, softmax_loss
from pretrain.sparse import sharing

LAST, BEST, HISTORY = "last.pt", "best.safetensors", "history.json"


@dataclass(frozen=True)
class Comparisons:
    """A batch with what its pairs are compared by.

    Args:
        batch: of a backend.
        known: where the query is known to engage the item of another pair; without columns for an objective that does
            not compare pairs.
        no_negative: where the query is known to engage one of its own negatives.
        log_q: of the items of ``batch``.
    """

    batch: TargetBatch
    known: Bool[Tensor, "pairs pairs_or_none"]
    no_negative: Bool[Tensor, "pairs negatives"]
    log_q: Float32[Tensor, "pairs one_plus_negatives"]


@dataclass(frozen=True)
class Learning:
    """What the loss needs besides the vectors.

    Args:
        config: objective, temperature, epochs, patience, learning rate.
        known: training pairs.
        log_q: log of each item's share of the training pairs; that of one pair for an item without any.
        hard: the same-category negatives, active after the warm-up.
    """

    config: PretrainConfig
    known: KnownPairs
    log_q: Float32[Tensor, " items"]
    hard: SameCategoryNegatives

    @classmethod
    def of(cls, config: PretrainConfig, known: KnownPairs, items: int, hard: SameCategoryNegatives) -> Learning:
        """Count the shares of the items."""
        counts = np.maximum(np.bincount(known.items, minlength=items), 1)
        return cls(config, known, torch.from_numpy(np.log(counts / len(known.items)).astype(np.float32)), hard)

    def comparisons(self, batches: Iterator[TargetBatch]) -> Iterator[Comparisons]:
        """Look up what the training pairs say of each batch."""
        for batch in batches:
            positives = batch.items[:, 0]
            compared = positives[:0] if self.config.objective is GraphObjective.graphsage else positives
            yield Comparisons(
                batch,
                known=torch.from_numpy(self.known.mask(batch.queries, compared)),
                no_negative=torch.from_numpy(self.known.own_mask(batch.queries, batch.items[:, 1:])),
                log_q=self.log_q[torch.from_numpy(batch.items)],
            )

    def loss(self, encoder: GraphEncoder, compared: Comparisons) -> Float32[Tensor, ""]:
        """Encode a batch and compare its pairs."""
        batch, log_q = compared.batch, compared.log_q
        vectors = encoder(batch.features, batch.blocks)
        # Not by indexing: on several threads the gradient of that is added up in whatever order the threads come.
        queries = F.embedding(batch.query_at, vectors["query"])
        items = F.embedding(batch.item_at, vectors["item"])
        positives, negatives = items[:, 0], items[:, 1:]
        temperature = self.config.temperature
        if self.config.objective is GraphObjective.graphsage:
            return graphsage_loss(queries, positives, negatives, compared.no_negative, temperature)
        return softmax_loss(
            queries,
            positives,
            log_q[:, 0],
            compared.known,
            negatives,
            log_q[:, 1:],
            compared.no_negative,
            temperature,
        )


@dataclass
class Progress:
    """Where training stands after some epochs; what ``last.pt`` holds besides model and optimiser."""

    epoch: int
    best: float
    stale: int
    history: list[dict[str, float]]


def fit(
    encoder: GraphEncoder,
    batches: Batches,
    learning: Learning,
    validate: Callable[[GraphEncoder], float],
    folder: Path,
) -> list[dict[str, float]]:
    """Train until validation no longer improves; the encoder ends with the best epoch's parameters.

    Every draw is a function of the seed, the epoch and the batch, so the checkpoint needs no generator's state: a run
    that is killed and started again ends with the same parameters as one that was not.

    Args:
        encoder: trained in place.
        batches: of a backend.
        learning: the objective.
        validate: the MRR of the encoder on held-out pairs.
        folder: of ``last.pt``, ``best.safetensors`` and ``history.json``; continued from if they are there.

    Returns:
        One entry an epoch: epoch (from 1), loss, validation_mrr, seconds.

    Raises:
        InputError: if the loss is no longer finite, or the checkpoint cannot be read.
    """
    config = learning.config
    optimiser = optimiser_of(encoder, config)
    state = _resume(folder, encoder, optimiser)
    while state.epoch < config.max_epochs and state.stale < config.patience:
        start = time.perf_counter()
        learning.hard.active = config.hard_negatives > 0 and state.epoch >= config.warmup_epochs
        loss = _epoch(encoder, batches, learning, optimiser, state)
        try:
            mrr = validate(encoder)
        except FloatingPointError as error:
            raise _diverged(f"psi after epoch {state.epoch + 1}: {error}", config) from None
        state.epoch += 1
        seconds = time.perf_counter() - start
        entry = {"epoch": state.epoch, "loss": loss, "validation_mrr": mrr, "seconds": round(seconds, 3)}
        state.history.append(entry)
        if mrr > state.best:
            state.best, state.stale = mrr, 0
            with replacing(folder / BEST) as temporary:
                safetensors.torch.save_file(encoder.state_dict(), temporary)
        else:
            state.stale += 1
        _save(folder, encoder, optimiser, state)
    encoder.load_state_dict(read_parameters(folder / BEST))
    return state.history


def optimiser_of(encoder: GraphEncoder, config: PretrainConfig) -> torch.optim.Optimizer:
    """Adam, all its parameters in one pass."""
    return torch.optim.Adam(encoder.parameters(), lr=config.learning_rate, fused=True)


def read_parameters(path: Path) -> dict[str, Tensor]:
    """The parameters of a finished training.

    Raises:
        InputError: if the file is missing or damaged.
    """
    try:
        parameters: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}): delete its folder and train psi again") from None
    return parameters


def _epoch(
    encoder: GraphEncoder, batches: Batches, learning: Learning, optimiser: torch.optim.Optimizer, state: Progress
) -> float:
    """One pass over the pairs; returns the mean loss of a pair."""
    total, pairs, start = 0.0, 0, time.perf_counter()
    best = f", best MRR {state.best:.4f}" if state.history else ""
    with progress() as bar, sharing(torch.get_num_threads()):
        title = f"psi, epoch {state.epoch + 1} of at most {learning.config.max_epochs}"
        task = bar.add_task(title, total=len(batches))
        for compared in ahead(learning.comparisons(batches.epoch(state.epoch))):
            value = step(encoder, learning, optimiser, compared)
            if not np.isfinite(value):
                raise _diverged(f"the loss of psi is {value} in epoch {state.epoch + 1}", learning.config)
            count = len(compared.batch.queries)
            total, pairs = total + value * count, pairs + count
            bar.update(task, advance=1, note=f"{pairs / (time.perf_counter() - start):,.0f} pairs/s{best}")
    return total / pairs


def _diverged(what: str, config: PretrainConfig) -> InputError:
    return InputError(
        f"{what}: lower pretrain.learning_rate (now {config.learning_rate}) or raise pretrain.temperature "
        f"(now {config.temperature})"
    )


def step(encoder: GraphEncoder, learning: Learning, optimiser: torch.optim.Optimizer, compared: Comparisons) -> float:
    """One step along the gradient of a batch's loss; returns the loss before it."""
    loss = learning.loss(encoder, compared)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.item())


def _resume(folder: Path, encoder: GraphEncoder, optimiser: torch.optim.Optimizer) -> Progress:
    path = folder / LAST
    if not path.exists():
        return Progress(epoch=0, best=-1.0, stale=0, history=[])
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        encoder.load_state_dict(saved["encoder"])
        optimiser.load_state_dict(saved["optimiser"])
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}): delete {folder} and train psi again") from None
    return Progress(**saved["progress"])


def _save(folder: Path, encoder: GraphEncoder, optimiser: torch.optim.Optimizer, state: Progress) -> None:
    with replacing(folder / LAST) as temporary:
        content = {"encoder": encoder.state_dict(), "optimiser": optimiser.state_dict(), "progress": vars(state)}
        torch.save(content, temporary)
    write_json(folder / HISTORY, state.history)


def best_epoch(history: Sequence[dict[str, float]]) -> int:
    """The epoch whose parameters are kept, from 1."""
    return int(max(history, key=lambda entry: entry["validation_mrr"])["epoch"])
