"""Typed configuration, the run folder and the rules by which stages write files: what every room may import."""

import os
from typing import TYPE_CHECKING

from configs.lazy import lazily

# Idle OpenMP threads spin by default. On a machine whose cores are shared, two spinning threads made a training step
# of 75 ms take 1.9 s. The library reads this once, when it is loaded: each room imports this package before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
