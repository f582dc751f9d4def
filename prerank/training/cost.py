"""What it costs to score candidates and to train: operations, and measured time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prerank.encoding.batches import Batch, EncodedSplit
from prerank.network.heads import Outputs

CANDIDATES = 1000
"""Rows scored at once, of about one request."""

PASSES = 30
"""Timed passes, after a few to warm up; the median is taken, since other work on the machine only ever adds to one."""


@dataclass(frozen=True)
class ServingCost:
    """Cost of a network.

    Attributes:
        flops: floating-point operations of the matrix products, a candidate; a multiply-add is two. Table lookups and
            element-wise work are not counted.
        latency_ms: median milliseconds for 1,000 candidates whose features lie in memory, on this machine.
    """

    flops: int
    latency_ms: float


def serving_cost(network: nn.Module, split: EncodedSplit) -> ServingCost:
    """Count and measure a network on rows of a split, repeated where it holds fewer than 1,000.

    Args:
        network: called with a batch.
        split: with at least one row.
    """
    batch = split.batch(np.resize(np.arange(split.rows, dtype=np.int64), CANDIDATES))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            network(batch)
        latency = median_ms(lambda: network(batch))
    network.train(was_training)
    return ServingCost(round(counter.get_total_flops() / CANDIDATES), latency)


def median_ms(score: Callable[[], object]) -> float:
    """Median milliseconds of :data:`PASSES` calls, after a few to warm up."""
    seconds = []
    for _ in range(PASSES + 3):
        started = time.perf_counter()
        score()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[3:]) * 1e3)


def training_flops(network: nn.Module, batch: Batch) -> float:
    """Floating-point operations of the matrix products of a training row, forward and backward.

    As in :class:`ServingCost`, table lookups and element-wise work are not counted; nor are losses.
    """
    with FlopCounterMode(display=False) as counter:
        backward(network, batch)
    return float(counter.get_total_flops()) / len(batch)


def backward(network: nn.Module, batch: Batch) -> None:
    """Forward and backward pass of a loss that costs nothing; the gradients are dropped."""
    outputs: Outputs = network(batch)
    logits = [logit for logit in (outputs.click, outputs.order, outputs.rank) if logit is not None]
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    torch.autograd.grad(torch.stack([logit.float().sum() for logit in logits]).sum(), parameters, allow_unused=True)
