"""GRACE without the hashed item id: φ is made of the attributes alone.

A user's earlier items (``history``), which GRACE embeds by φ's hash-id table, have a hashed table of their own here.
The paper's ablation "w/o hash id": AUC .7775 where GRACE has .7788, on JD's private data.
"""

from __future__ import annotations

from configs.errors import InputError
from prerank.systems import grace
from prerank.systems.grace import KEYS, NEEDS_PSI, load
from prerank.training.contracts import FittedSystem, Work

__all__ = ["KEYS", "NEEDS_PSI", "fit", "load"]


def fit(work: Work) -> FittedSystem:
    """GRACE with the configuration that leaves the part out.

    Raises:
        InputError: if a key puts it in again.
    """
    if work.config.model.item.use_hash_id:
        raise InputError(
            "model=grace_no_hash_id has no hashed item id, found model.item.use_hash_id=True: "
            "leave the key out, or take model=grace"
        )
    return grace.fit(work)
