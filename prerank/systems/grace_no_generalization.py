"""GRACE without the generalisation loss of eq. 10: nothing pulls φ towards ψ.

ψ is still read: it decides which items the segment ``outside_p`` holds, which has to be the same as GRACE's.
The paper's ablation "w/o generalization": AUC .7747 where GRACE has .7788, on JD's private data.
"""

from __future__ import annotations

from configs.errors import InputError
from configs.schema import Contrast
from prerank.systems import grace
from prerank.systems.grace import KEYS, NEEDS_PSI, load
from prerank.training.contracts import FittedSystem, Work

__all__ = ["KEYS", "NEEDS_PSI", "fit", "load"]


def fit(work: Work) -> FittedSystem:
    """GRACE with the configuration that leaves the part out.

    Raises:
        InputError: if a key puts it in again.
    """
    if work.config.model.contrast.loss is not Contrast.none:
        raise InputError(
            "model=grace_no_generalization has no contrast, found "
            f"model.contrast.loss={work.config.model.contrast.loss}: leave the key out, or take model=grace"
        )
    return grace.fit(work)
