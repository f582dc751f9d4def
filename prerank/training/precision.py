"""Which precision a network trains in: float32, or the matrix products in bf16 where the machine is faster with it.

With bf16, products are bf16; tables, the optimiser's state, logits and losses stay float32. A processor without bf16
units computes it hundreds of times more slowly, so nobody gets it without its having been measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from configs.errors import InputError
from prerank.encoding.batches import EncodedSplit
from prerank.training.cost import backward

FULL, MIXED, AUTO = "32-true", "bf16-mixed", "auto"
LEAST_GAIN = 1.1
"""How much faster bf16 has to be for ``auto`` to take it: of two that are equally fast, chance would choose."""
FEW_ROWS = 32
"""With which bf16 is tried first: where it is slow, a whole batch of it would take seconds."""


@dataclass(frozen=True)
class PrecisionTimes:
    """Milliseconds of a forward and backward pass of one batch, without losses and optimiser."""

    full_ms: float
    mixed_ms: float

    def __str__(self) -> str:
        return f"forward and backward of a batch take {self.full_ms:.1f} ms in {FULL}, {self.mixed_ms:.1f} in {MIXED}"


def choose_precision(asked: str, times: Callable[[], PrecisionTimes]) -> tuple[str, PrecisionTimes | None]:
    """The precision to train with, and what was measured for it, if anything.

    Args:
        asked: 32-true, bf16-mixed or auto.
        times: measures.

    Raises:
        InputError: if bf16-mixed is asked for and slower.
    """
    if asked == FULL:
        return FULL, None
    measured = times()
    if asked == AUTO:
        return MIXED if measured.full_ms > LEAST_GAIN * measured.mixed_ms else FULL, measured
    if measured.mixed_ms > measured.full_ms:
        raise InputError(
            f"prerank.precision={MIXED} is slower on this machine: {measured}; use prerank.precision={FULL}"
        )
    return MIXED, measured


def measure_precisions(network: nn.Module, split: EncodedSplit, batch_size: int) -> PrecisionTimes:
    """Time both on rows of a split; the network is left on the device that it will train on, and no number is drawn."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    rows = np.arange(min(batch_size, split.rows))
    batch, few = split.batch(rows).to(device), split.batch(rows[:FEW_ROWS]).to(device)

    def passes(mixed: bool, small: bool, repeats: int) -> float:
        seconds = []
        for _ in range(repeats + 1):
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                backward(network, few if small else batch)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        return min(seconds[1:]) * 1e3  # the first one prepares

    with torch.random.fork_rng():
        full = passes(mixed=False, small=False, repeats=5)
        trial = passes(mixed=True, small=True, repeats=1)
        if trial > full:
            return PrecisionTimes(full, trial * len(rows) / len(few))
        return PrecisionTimes(full, passes(mixed=True, small=False, repeats=5))
