"""The base of network systems: losses by name, validation within the epoch, the best weights kept, rows scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from torch import Tensor

from configs.console import say, warn
from configs.errors import InputError
from prerank.encoding.batch_loader import BatchLoader
from prerank.encoding.batches import EXPOSED, Batch, EncodedLog, EncodedSplit
from prerank.evaluation.metrics import auc, gauc
from prerank.losses.feedback import conversion_logit
from prerank.network.heads import Outputs
from prerank.network.inputs import HashedTable, NumberEncoder
from prerank.network.pre_ranking import PreRankingNetwork, ServingNetwork
from prerank.training.adagrad import Adagrad
from prerank.training.checkpoints import (
    BEST,
    FOLDER,
    LAST,
    Checkpoints,
    conclude,
    load_weights,
    read_start,
    resume_point,
)
from prerank.training.contracts import Predictions, Work
from prerank.training.loggers import finish_logging
from prerank.training.precision import choose_precision, measure_precisions
from prerank.training.progress import Progress
from prerank.training.trainer import MONITOR, make_trainer, quiet_lightning

SCORING_ROWS = 8192
"""Rows scored at once: large enough for the matrix products, small enough for the cache."""

LEAST_STEPS_APART = 10
"""Steps between validations at least: on a small log they and their checkpoints would cost more than the training."""

NETWORK_KEYS = (
    *(f"model.{key}" for key in ("dimension", "buckets", "item", "experts", "conversion_space", "rank.head")),
    "pretrain.dimension",
    "prerank",
)
"""What every network system reads of the configuration; a system adds the sections of its own losses."""


class NetworkSystem(lightning.LightningModule, ABC):
    """A system that is a network and its losses: it states these and what it needs, and is fitted like all others.

    Most override :meth:`losses` or :meth:`make_network` alone.

    Args:
        work: configuration, encoded log, ψ and folder.

    Attributes:
        NEEDS_PSI, KEYS: as of :class:`~prerank.training.contracts.System`.
        NEEDS_POSITIONS: whether it learns from the ranking model's order; a log without positions is refused.
        CONTINUES: as of :class:`~prerank.training.contracts.System`; one that is fitted in several steps overrides it.
        whole_requests: whether training batches hold whole requests, for losses over lists.

    Raises:
        InputError: if the log lacks what the system needs.
    """

    NEEDS_PSI = False
    NEEDS_POSITIONS = False
    KEYS: tuple[str, ...] = NETWORK_KEYS
    CONTINUES = True
    whole_requests = False

    @classmethod
    def fit(cls, work: Work) -> FittedNetwork:
        """Train from the beginning, or from where a killed training stopped."""
        return fit_network(cls(work), work)

    @classmethod
    def load(cls, work: Work) -> FittedNetwork:
        """Read the fitted system of the folder of ``work``."""
        return load_network(cls(work), work)

    def __init__(self, work: Work) -> None:
        super().__init__()
        if self.NEEDS_POSITIONS:
            require_positions(work)
        self.model = work.config.model
        self.learning_rate = work.config.prerank.learning_rate
        self.table_accumulator = work.config.prerank.table_accumulator
        dimension = work.config.pretrain.dimension if work.psi is None else work.psi.vectors.shape[1]
        self.network = self.make_network(work, dimension)
        self.scored: list[tuple[Tensor, ...]] = []
        self.told_undefined = False
        self.start: dict[str, dict[str, Tensor]] = {}

    def make_network(self, work: Work, dimension: int) -> ServingNetwork:
        """The network that serves; a system with another one overrides this.

        Args:
            work: as above.
            dimension: length of φ.
        """
        return PreRankingNetwork(work.encoded.schema, work.config.model, dimension)

    @abstractmethod
    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """The weighted terms of the loss, by name; their sum is minimised."""

    def training_terms(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a training batch; a system that does not train on what it serves overrides this."""
        return self.losses(batch, self(batch))

    def forward(self, batch: Batch) -> Outputs:
        outputs: Outputs = self.network(batch)
        return outputs

    def task_logits(self, outputs: Outputs) -> tuple[Tensor | None, Tensor | None]:
        """The logits of P(click | impression) and P(order | impression)."""
        if outputs.order is None or outputs.click is None:
            return outputs.click, outputs.order
        return outputs.click, conversion_logit(outputs.click, outputs.order, self.model.conversion_space)

    def feedback_score(self, outputs: Outputs) -> Tensor:
        """The fused score that a loss over lists orders: click logit plus order logit, those that the log can teach."""
        return torch.stack([logit for logit in self.task_logits(outputs) if logit is not None]).sum(dim=0)

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        terms = self.training_terms(batch)
        total = torch.stack(list(terms.values())).sum()
        # What is logged every n steps is the loss of that step; of the others Lightning would write nothing down.
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            losses = {"loss": total, **terms}
            self.log_dict({f"train/{name}": loss.detach() for name, loss in losses.items()}, batch_size=len(batch))
        return total

    def validation_step(self, batch: Batch, _index: int) -> None:
        outputs = self(batch)
        click, order = self.task_logits(outputs)
        nothing = torch.zeros_like(batch.clicked)
        # Only what users saw: random negatives are told apart easily and would decide when to stop.
        shown = batch.stage == EXPOSED
        columns = (
            nothing if click is None else click,
            nothing if order is None else order,
            batch.clicked,
            batch.ordered,
            batch.request,
        )
        self.scored.append(tuple(column[shown].cpu() for column in columns))

    def on_validation_epoch_end(self) -> None:
        click, order, clicked, ordered, request = (
            torch.cat(columns).float().numpy() if index < 4 else torch.cat(columns).numpy()
            for index, columns in enumerate(zip(*self.scored, strict=True))
        )
        self.scored.clear()
        figures = {}
        if "click" in self.network.tasks:
            figures["auc_click"], figures["gauc_click"] = auc(clicked, click), gauc(clicked, click, request)
        if "order" in self.network.tasks:
            figures["auc_order"], figures["gauc_order"] = auc(ordered, order), gauc(ordered, order, request)
        for name, value in figures.items():
            if value is not None:
                self.log(f"validation/{name}", value)
        objective = validation_objective(figures)
        if objective is None:
            if not self.told_undefined:
                warn("no validation row is clicked or ordered: nothing says when to stop, so the last state is kept")
            self.told_undefined = True
            objective = float(self.global_step)
        self.log(MONITOR, objective)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adagrad, which updates only the rows that a sparse gradient names.

        From an accumulator of 0, the first step of every value is the whole learning rate, however small its gradient:
        an id seen once is memorised. The tables start higher: ``prerank.table_accumulator`` (docs/model/equations.md).
        """
        tables = {id(module.weight) for module in self.modules() if isinstance(module, HashedTable | NumberEncoder)}
        optimizer = Adagrad(self.parameters(), lr=self.learning_rate)
        for parameter in self.parameters():
            if id(parameter) in tables:
                optimizer.state[parameter]["sum"].fill_(self.table_accumulator)
        for name, parameter in self.named_parameters():
            for key, values in self.start.get(name, {}).items():  # what an earlier training has left
                optimizer.state[parameter][key].copy_(values)
        return optimizer


def validation_objective(figures: dict[str, float | None]) -> float | None:
    """What stopping and checkpoints look at: the mean over tasks of GAUC, or of AUC where no request has both classes.

    The same for every system, so that none is stopped at a point that suits another. None where nothing is defined.
    """
    tasks = []
    for task in ("click", "order"):
        value = figures.get(f"gauc_{task}")
        value = figures.get(f"auc_{task}") if value is None else value
        if value is not None:
            tasks.append(value)
    return sum(tasks) / len(tasks) if tasks else None


def require_positions(work: Work) -> None:
    """For a system that learns from the ranking model's order.

    Raises:
        InputError: if the log does not have it.
    """
    task, name = work.encoded.schema.tasks["rank"], work.config.model.name
    if not task["available"]:
        raise InputError(
            f"model={name} learns from the positions that a ranking model gave; {task['reason']}: "
            "take model=ple, or a log with positions"
        )


class FittedNetwork:
    """A trained network that scores rows.

    Args:
        module: with the weights to use.
    """

    def __init__(self, module: NetworkSystem) -> None:
        self.module = module.eval()
        # Of what serves: a system may train with more than that, such as a teacher.
        self.parameters = sum(parameter.numel() for parameter in module.network.parameters())

    @torch.inference_mode()
    def predict(self, split: EncodedSplit) -> Predictions:
        """Logits of every row of the split, in order."""
        clicks, orders, ranks = [], [], []
        for batch in BatchLoader(split, SCORING_ROWS):
            outputs = self.module(batch)
            click, order = self.module.task_logits(outputs)
            clicks.append(click)
            orders.append(order)
            ranks.append(outputs.rank)
        return Predictions(click=_joined(clicks), order=_joined(orders), rank=_joined(ranks))

    @torch.inference_mode()
    def item_vectors(self, encoded: EncodedLog) -> np.ndarray | None:
        """φ of every catalogue item, un-normalised; None for a network without φ."""
        items = self.module.network.item_network
        if items is None:
            return None
        parts = []
        for start in range(0, encoded.schema.n_items, SCORING_ROWS):
            rows = np.arange(start, min(start + SCORING_ROWS, encoded.schema.n_items))
            item_hash, features = encoded.item_features(rows)
            parts.append(items(item_hash, features).float())
        vectors: np.ndarray = torch.cat(parts).numpy()
        return vectors


def _joined(parts: list[Tensor | None]) -> np.ndarray | None:
    present = [part.float().numpy() for part in parts if part is not None]
    return np.concatenate(present) if present else None


def fit_network(module: NetworkSystem, work: Work) -> FittedNetwork:
    """Train with validation several times within an epoch, and return the best of them.

    Resumes where the folder has what a killed training left; one that had ended is only read.

    Raises:
        InputError: if the log has no task that this system can learn.
    """
    if not module.network.tasks:
        raise InputError(f"model={work.config.model.name}: the log has none of the tasks that it learns")
    quiet_lightning()
    settings, name = work.config.prerank, work.config.model.name
    torch.set_num_threads(settings.threads)
    saved = resume_point(work.folder)
    if saved is None and (work.folder / FOLDER / BEST).exists():
        say(f"{name} is trained already: {work.folder}")
        return load_network(module, work)
    if saved is None or not saved["ended"]:
        _train(module, work, saved)
    conclude(module, work.folder)
    return FittedNetwork(module)


def _train(module: NetworkSystem, work: Work, saved: dict[str, Any] | None) -> None:
    """Train to the end, from the beginning or from what a killed training has left."""
    settings, name = work.config.prerank, work.config.model.name
    split = work.encoded.split("train")
    train = BatchLoader(split, settings.batch_size, seed=work.config.seed, whole_requests=module.whole_requests)
    validation = BatchLoader(work.encoded.split("validation"), SCORING_ROWS)
    apart = max(len(train) // settings.validations_per_epoch, LEAST_STEPS_APART)
    if saved is None and work.start is not None:
        say(f"going on from {work.start}")
        module.start = read_start(module, work.start)
        if not module.start:
            warn(f"{work.start} was fitted by an older version, which kept no accumulators: Adagrad starts anew")
    if saved is None:
        precision, times = choose_precision(
            settings.precision, lambda: measure_precisions(module.network, split, settings.batch_size)
        )
        if times is not None:
            say(f"prerank.precision={precision}: {times}")
    else:
        precision, times = saved["precision"], None
    checkpoints = Checkpoints(work.folder, MONITOR, precision, warm=bool(module.start))
    progress = Progress(name, MONITOR, times)
    trainer = make_trainer(work, min(apart, len(train)), checkpoints, progress)
    last = None if saved is None else work.folder / FOLDER / LAST
    if last is not None:
        say(f"resuming from {last}")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    steps = f"{train.rows:,} rows, {len(train):,} steps an epoch"
    say(f"training {name}: {parameters:,} parameters, {steps}, {checkpoints.precision}")
    try:
        trainer.fit(module, train, validation, ckpt_path=last, weights_only=True)
    finally:
        finish_logging(trainer.loggers)
    if trainer.interrupted:
        raise KeyboardInterrupt
    progress.write(work.folder, checkpoints)


def load_network(module: NetworkSystem, work: Work) -> FittedNetwork:
    """The network with its best weights.

    Raises:
        InputError: if the checkpoint is missing, damaged or of another configuration.
    """
    load_weights(module, work.folder / FOLDER / BEST)
    return FittedNetwork(module)
