"""Typed configuration, the run folder and the rules by which stages write files: what every room may import."""

import os

# Idle OpenMP threads spin by default. On a machine whose cores are shared, two spinning threads made a training step
# of 75 ms take 1.9 s. The library reads this once, when it is loaded: each room imports this package before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
