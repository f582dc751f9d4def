"""GRACE without rank consistency: no rank head and no term of eqs. 6-9.

The paper's ablation "w/o consistency": AUC .7753 where GRACE has .7788, on JD's private data.
"""

from __future__ import annotations

from configs.errors import InputError
from configs.schema import RankHead
from prerank.systems import grace
from prerank.systems.grace import KEYS, NEEDS_PSI, load
from prerank.training.contracts import FittedSystem, Work

__all__ = ["KEYS", "NEEDS_PSI", "fit", "load"]


def fit(work: Work) -> FittedSystem:
    """GRACE with the configuration that leaves the part out.

    Raises:
        InputError: if a key puts it in again.
    """
    if work.config.model.rank.head is not RankHead.none:
        raise InputError(
            f"model=grace_no_consistency has no rank head, found model.rank.head={work.config.model.rank.head}: "
            "leave the key out, or take model=grace"
        )
    return grace.fit(work)
