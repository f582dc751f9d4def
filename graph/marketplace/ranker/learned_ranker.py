"""The ranking model of the simulated cascade, trained on the days before the log and on what a platform sees.

A deep interest network (Zhou et al., KDD 2018) with the heads of progressive layered extraction (Tang et al., RecSys
2020). After its training the weights stay; the counters behind its features go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torch.nn import functional

from configs.worlds import WorldConfig
from graph.marketplace.ranker.features import NUMBERS, Features, RankerFeatures
from graph.marketplace.ranker.network import CLICK, ORDER, Inputs, RankerNetwork
from graph.marketplace.world.noise import counter_key
from graph.marketplace.world.observed import Observed
from graph.marketplace.world.state import Seen

BLOCK = 10
"""Positions of a training block, so that long and short lists fill batches alike."""
TRAINING_BLOCKS = 40_000
"""The latest blocks of the warm-up are trained on, up to so many: 400,000 impressions."""
BATCH, LEAST_STEPS = 64, 200
"""Blocks of a batch; fewer where an epoch would have fewer steps than that."""
EPOCHS = 2
"""With rates that fall to 0. More learn the embeddings of single users and items by heart."""
TABLE_RATE, LEARNING_RATE = 0.03, 0.002
ACCUMULATOR = 1e-4
"""Adagrad's, at the start: a row that is met for the first time moves by less than the full rate."""
WEIGHT_DECAY = 1e-4
ORDER_WEIGHT = 0.1
"""Of the order's loss, a mean over clicks alone: it is ten times as uncertain as that of the clicks."""
FARTHEST = 5.0
"""Standard deviations at which a number is cut."""
CHUNK = 32
"""Requests scored at once: what lies between the layers stays in the cache."""
TRAINED_CHUNK = 256
"""Blocks scored at once, likewise."""


class Blocks(NamedTuple):
    """Stretches of lists as they were shown, to be trained on."""

    inputs: Inputs
    exposed: Bool[Tensor, "blocks positions"]
    position: Int64[Tensor, "blocks positions"]
    """From 0."""
    clicked: Float[Tensor, "blocks positions"]
    ordered: Float[Tensor, "blocks positions"]

    def take(self, rows: Int64[Tensor, " n"]) -> Blocks:
        """Some of them."""
        inputs, *rest = self
        return Blocks(Inputs(*(values[rows] for values in inputs)), *(values[rows] for values in rest))


class LearnedRanker:
    """Ranks by the log of an item's expected worth if looked at: click · (1 + ``order_worth`` · order).

    The same seed and waves give the same scores, whatever the number of threads. It can be copied (``copy.deepcopy``),
    and the copies go on apart.

    Args:
        world: for the worth of an order and the longest list.
        seed: of the network's start, of the batches and of the fit to the titles.
        seen: the tables that a platform holds.
    """

    def __init__(self, world: WorldConfig, seed: int, seen: Seen) -> None:
        self._seen, self._order_worth, self._positions = seen, world.order_worth, world.ranked + BLOCK
        self._seed = int(counter_key(seed, "learned ranker") >> np.uint64(1))
        with _one_thread():
            self._features = RankerFeatures(seen, seed)
        self._days: list[Blocks] = []
        self._waves: list[Blocks] = []
        self._model: _Trained | None = None

    def observe(
        self,
        observed: Observed,
        exposed: Bool[np.ndarray, "r l"],
        clicked: Bool[np.ndarray, "r l"],
        ordered: Bool[np.ndarray, "r l"],
    ) -> None:
        """Take in a wave as it was shown.

        Args:
            observed: its requests; column j of the candidates is position j + 1.
            exposed: what the users were shown.
            clicked, ordered: what they did.
        """
        if self._model is None and exposed.any():
            self._waves.append(_blocks(self._features, observed, exposed, clicked, ordered))
        self._features.observe(observed, exposed, clicked, ordered)

    def end_day(self) -> None:
        """Count the day; its waves are features from now on."""
        self._features.end_day()
        if self._waves:
            self._days.append(_joined(self._waves))
            self._waves = []
        while self._days and sum(len(day.exposed) for day in self._days[1:]) >= TRAINING_BLOCKS:
            del self._days[0]

    def train(self) -> None:
        """Learn from the days observed so far, once; the network does not change afterwards.

        Raises:
            ValueError: where nothing was ever exposed.
        """
        if not self._days:
            raise ValueError("the ranking model cannot be trained: no day with an exposed item was observed before it")
        blocks = _joined(self._days)
        self._days = []
        blocks = blocks.take(torch.arange(max(0, len(blocks.exposed) - TRAINING_BLOCKS), len(blocks.exposed)))
        with _one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self._model = _Trained(RankerNetwork(self._seen, len(NUMBERS), self._positions), blocks, self._order_worth)

    def score(self, observed: Observed) -> Float64[np.ndarray, "r m"]:
        """Log expected worth of each candidate, standardised over the impressions trained on; 0 for padding.

        Raises:
            ValueError: before :meth:`train`.
        """
        if self._model is None:
            raise ValueError("the ranking model has to be trained before it scores")
        scores = np.zeros(observed.candidates.items.shape)
        with _one_thread(), torch.inference_mode():
            for start in range(0, len(scores), CHUNK):
                rows = slice(start, start + CHUNK)
                inputs = _inputs(self._features(observed.take(rows)))
                present = inputs.items >= 0
                scores[rows][present.numpy()] = self._model.score(inputs, present).numpy()
        return scores


class _Trained:
    """A trained network with what it needs to score: the numbers' scales, every item's vectors, the worths' scale."""

    def __init__(self, network: RankerNetwork, blocks: Blocks, order_worth: float) -> None:
        self._network, self._order_worth = network, order_worth
        numbers = blocks.inputs.numbers[blocks.exposed].double()
        # A number that is always the same (orders, where there were none) must not divide by 0.
        self._mean, self._scale = numbers.mean(dim=0).float(), numbers.std(dim=0, correction=0).clamp(min=1e-3).float()
        _fit(network, blocks._replace(inputs=self._standardised(blocks.inputs)))
        network.eval()
        with torch.inference_mode():
            self._items = network.item_vectors(torch.arange(len(network.item.weight)))
            self._worth = 0.0, 1.0
            starts = range(0, len(blocks.exposed), TRAINED_CHUNK)
            parts = (blocks.take(torch.arange(len(blocks.exposed))[at : at + TRAINED_CHUNK]) for at in starts)
            worth = [self.score(part.inputs, part.exposed) for part in parts]
            spread, mean = torch.std_mean(torch.cat(worth), correction=0)
            self._worth = float(mean), max(float(spread), 1e-6)

    def _standardised(self, inputs: Inputs) -> Inputs:
        numbers = ((inputs.numbers - self._mean) / self._scale).clamp(-FARTHEST, FARTHEST)
        return inputs._replace(numbers=numbers)

    def score(self, inputs: Inputs, present: Bool[Tensor, "requests candidates"]) -> Float64[Tensor, " pairs"]:
        logits = self._network(self._standardised(inputs), present, self._items)
        click, order = logits[CLICK].double(), logits[ORDER].double()
        worth = functional.logsigmoid(click) + torch.log1p(self._order_worth * order.sigmoid())
        return (worth - self._worth[0]) / self._worth[1]


def _fit(network: RankerNetwork, blocks: Blocks) -> None:
    """Adagrad on the embeddings, so that rare ones move as far as frequent ones; Adam on the rest."""
    tables = [table.weight for table in network.tables()]
    others = [value for value in network.parameters() if all(value is not table for table in tables)]
    optimizers: tuple[torch.optim.Optimizer, ...] = (
        torch.optim.Adagrad(tables, lr=TABLE_RATE, initial_accumulator_value=ACCUMULATOR),
        torch.optim.AdamW(others, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY),
    )
    count = len(blocks.exposed)
    batch = max(1, min(BATCH, count // LEAST_STEPS))
    steps = EPOCHS * math.ceil(count / batch)
    falling = [torch.optim.lr_scheduler.LinearLR(one, 1.0, 0.0, total_iters=steps) for one in optimizers]
    network.train()
    for _ in range(EPOCHS):
        order = torch.randperm(count)
        for at in range(0, count, batch):
            for optimizer in optimizers:
                optimizer.zero_grad()
            torch.autograd.backward(_loss(network, blocks.take(order[at : at + batch])))
            for optimizer, schedule in zip(optimizers, falling, strict=True):
                optimizer.step()
                schedule.step()


def _loss(network: RankerNetwork, blocks: Blocks) -> Tensor:
    """Cross-entropy of clicks over impressions, with the position's logit, plus that of orders over clicks."""
    exposed = blocks.exposed
    logits = network(blocks.inputs, exposed)
    clicked, ordered = blocks.clicked[exposed], blocks.ordered[exposed]
    looked = network.position(blocks.position[exposed]).squeeze(1)
    click = functional.binary_cross_entropy_with_logits(logits[CLICK] + looked, clicked)
    order = functional.binary_cross_entropy_with_logits(logits[ORDER], ordered, weight=clicked, reduction="sum")
    return click + ORDER_WEIGHT * order / clicked.sum().clamp(min=1.0)


def _inputs(features: Features) -> Inputs:
    ids = (features.user, features.query, features.history, features.items)
    user, query, history, items = (torch.from_numpy(values.astype(np.int64)) for values in ids)
    return Inputs(user, query, history, items, torch.from_numpy(features.numbers))


def _blocks(
    features: RankerFeatures,
    observed: Observed,
    exposed: Bool[np.ndarray, "r l"],
    clicked: Bool[np.ndarray, "r l"],
    ordered: Bool[np.ndarray, "r l"],
) -> Blocks:
    """Cut a wave into stretches of ``BLOCK`` positions, and keep those with anything exposed."""
    last = int(np.flatnonzero(exposed.any(axis=0)).max())
    starts = np.arange(0, last + 1, BLOCK)
    columns = starts[:, None] + np.arange(BLOCK)
    inside = np.minimum(columns, exposed.shape[1] - 1)
    # Beyond the list's end stands its last column once more, and is not exposed.
    shown = exposed[:, inside] & (columns < exposed.shape[1])
    request, stretch = np.nonzero(shown.any(axis=2))
    cut = observed.take(request).arranged(inside[stretch])
    outcome = (values[request[:, None], inside[stretch]].astype(np.float32) for values in (clicked, ordered))
    position = torch.from_numpy(columns[stretch])
    exposed_rows = torch.from_numpy(shown[request, stretch])
    return Blocks(_inputs(features(cut)), exposed_rows, position, *(torch.from_numpy(values) for values in outcome))


def _joined(parts: list[Blocks]) -> Blocks:
    inputs, *rest = zip(*parts, strict=True)
    joined = Inputs(*(torch.cat(values) for values in zip(*inputs, strict=True)))
    return Blocks(joined, *(torch.cat(values) for values in rest))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of several threads differ in the last digit, and with it, in the end, what a user is shown."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
