"""GRACE on a GPU beside the CPU of the same machine, in under eight minutes: ``python benchmarks/gpu``.

Needs torch, torch-geometric and pytorch-lightning, and no network; what else is missing is stood in for, or left out by
name. Prints, and writes to ``gpu.json`` in the folder of the environment's ``OUT`` or here:

- the device's rates: memory (a copy), fp32, TF32 and bf16 products;
- steps of PLE and GRACE with 3,000,000 hash rows of 32, at several batch sizes, with the share of the memory bound: the
  bytes that a step has to move, over the measured rate;
- the same steps on both devices from the same weights: how far losses and logits are apart;
- psi's encoder with neighbourhoods that are sampled on the device;
- exact FAISS search on the GPU against the CPU's, where FAISS is there.

Without a GPU it runs the CPU's part, says so, and ends with 1. A whole fit of the project on the device is
``python -m prerank.fit``, which takes what Lightning finds; this one is what a bare machine can do.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Stand in for what is missing, then measure."""
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]
    # These look for packages themselves, and do without those that they do not find.
    import pytorch_lightning  # noqa: F401
    import torch_geometric  # noqa: F401
    from absent import stand_in

    missing = stand_in()
    from measure import run

    return run(missing)


if __name__ == "__main__":
    sys.exit(main())
