"""Typed configuration, the run folder and the rules by which stages write files: what every room may import."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from configs.lazy import lazily


def _nobody_computes() -> bool:
    """Whether this process is the only one that runs now; False where that cannot be read."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) <= 1
    except (OSError, IndexError, ValueError):
        return False


# Idle OpenMP threads spin by default. On a machine whose cores are shared, two spinning threads made a training step
# of 75 ms take 1.9 s, so they sleep. Waking them costs as much as a small operation, and a step has a hundred of these:
# on a machine that is otherwise idle they spin for up to a millisecond before they sleep, which takes a third off a
# step. The library reads this once, when it is loaded: each room imports this package before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "20000" if _nobody_computes() else "0")

__all__ = ["Config", "InputError", "Run", "parse"]

if TYPE_CHECKING:
    from configs.command import parse as parse
    from configs.errors import InputError as InputError
    from configs.schema import Config as Config
    from configs.stages import Run as Run
else:
    __getattr__ = lazily(
        __name__,
        {
            "parse": "configs.command",
            "Config": "configs.schema",
            "InputError": "configs.errors",
            "Run": "configs.stages",
        },
    )
