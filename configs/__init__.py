"""Typed configuration, the run folder and the rules by which stages write files: what every room may import."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from configs.lazy import lazily


def _nobody_computes() -> bool:
    """Whether this process is the only one that runs, at one moment of a few; False where that cannot be read."""
    try:
        for _ in range(5):
            if int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) <= 1:
                return True
            time.sleep(0.002)
    except (OSError, IndexError, ValueError):
        pass
    return False


# Idle OpenMP threads spin by default. On a machine whose cores are shared, two spinning threads made a training step
# of 75 ms take 1.9 s, so they sleep. Waking them costs as much as a small operation, and a step has a hundred of these:
# where nothing else runs when the process starts they spin for some tenths of a millisecond first, which takes a fifth
# off a step. The library reads this once, when it is loaded: each room imports this package before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "4000" if _nobody_computes() else "0")

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
