"""Ranges of configuration values that their types cannot say, refused before any work is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

from omegaconf import OmegaConf

from configs.errors import InputError
from configs.schema import Config

ABOVE_ZERO = (
    "graph.degree_cap",
    "graph.half_life_days",
    "graph.memory_limit_gb",
    "pretrain.dimension",
    "pretrain.hidden",
    "pretrain.fan_out",
    "pretrain.temperature",
    "pretrain.max_epochs",
    "pretrain.patience",
    "pretrain.batch_size",
    "pretrain.learning_rate",
    "pretrain.text_buckets",
    "pretrain.text_dimension",
    "pretrain.threads",
    "model.dimension",
    "model.buckets",
    "model.item.hash_vocabulary",
    "model.item.hash_dimension",
    "model.item.hidden",
    "model.experts.levels",
    "model.experts.hidden",
    "model.experts.tower",
    "model.contrast.temperature",
    "model.lightgbm.trees",
    "model.lightgbm.learning_rate",
    "model.lightgbm.min_rows",
    "model.lightgbm.patience",
    "model.distillation.temperature",
    "model.dssm.gamma",
    "model.cold.groups",
    "model.copr.chunk",
    "model.rankflow.top",
    "model.cold_ids.impressions",
    "model.din.hidden",
    "model.din.hashes",
    "model.din.bits",
    "model.deepfm.hidden",
    "prerank.max_epochs",
    "prerank.batch_size",
    "prerank.learning_rate",
    "prerank.validations_per_epoch",
    "prerank.patience",
    "prerank.threads",
    "evaluation.draws",
    "index.queries",
    "index.hold_out_max_epochs",
    "ab.days",
    "ab.draws",
    "mechanisms.seeds",
    "tune.trials",
    "compare.seeds",
)
"""Numbers, or every number of a list."""
AT_LEAST_ZERO = (
    "seed",
    "pretrain.negatives",
    "pretrain.hard_negatives",
    "pretrain.warmup_epochs",
    "pretrain.min_engagement",
    "model.experts.shared",
    "model.experts.specific",
    "model.rank.weight",
    "model.rank.k_weights",
    "model.contrast.weight",
    "model.distillation.weight",
    "model.plus.list_weight",
    "model.plus.query_weight",
    "model.copr.weight",
    "model.cold_ids.step",
    "model.pfd.swap_epochs",
    "prerank.table_accumulator",
    "mechanisms.workers",
    "tune.workers",
    "compare.workers",
    "serve.port",
)
SHARES = ("pretrain.validation_share", "evaluation.confidence", "index.hold_out", "ab.quantile")
"""Above 0 and below 1."""
PARTS = (
    "data.rejected_share",
    "model.experts.dropout",
    "model.rankflow.alpha",
    "model.cold_ids.alpha",
    "model.pfd.weight",
    "evaluation.tail_share",
    "evaluation.head_share",
)
"""From 0 to 1, both included."""
ASCENDING = ("data.cutoffs", "evaluation.recall_at", "index.neighbours")
LARGEST_SEED = 2**32 - 1
"""What NumPy and Lightning take."""
LARGEST_PORT = 2**16 - 1


def check_ranges(config: Config) -> None:
    """Refuse what no stage could work with.

    Raises:
        InputError: naming the key, the range and the value.
    """
    name = config.run
    if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
        raise InputError(f"run must be a plain folder name, found {name!r}")
    for key, value in _numbers(OmegaConf.to_container(OmegaConf.structured(config)), ""):
        if not math.isfinite(value):
            raise InputError(f"{key} must be a finite number, found {value}")
    for key in ABOVE_ZERO:
        _require(config, key, "above 0", lambda value: value > 0)
    for key in AT_LEAST_ZERO:
        _require(config, key, "at least 0", lambda value: value >= 0)
    for key in SHARES:
        _require(config, key, "above 0 and below 1", lambda value: 0 < value < 1)
    for key in PARTS:
        _require(config, key, "from 0 to 1", lambda value: 0 <= value <= 1)
    _require(config, "seed", f"at most {LARGEST_SEED}", lambda value: value <= LARGEST_SEED)
    _require(config, "model.lightgbm.leaves", "at least 2", lambda value: value >= 2)
    _require(config, "serve.port", f"at most {LARGEST_PORT}", lambda value: value <= LARGEST_PORT)
    for key in ASCENDING:
        _ascending(key, _value(config, key))
    if not config.pretrain.fan_out:
        raise InputError("pretrain.fan_out needs one number a layer, found []")
    _check_lists(config)


def _check_lists(config: Config) -> None:
    shares = config.data.split.shares
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"data.split.shares must be three shares above 0 that sum to 1, found {list(shares)}")
    weights = config.model.rank.k_weights
    if weights and len(weights) != len(config.data.cutoffs):
        raise InputError(
            f"model.rank.k_weights needs one weight for each of data.cutoffs {list(config.data.cutoffs)}, "
            f"found {list(weights)}"
        )


def _require(config: Config, key: str, expected: str, holds: Callable[[Any], bool]) -> None:
    value = _value(config, key)
    if not all(holds(entry) for entry in (value if isinstance(value, list) else [value])):
        raise InputError(f"{key} must be {expected}, found {value}")


def _value(config: Config, key: str) -> Any:
    return reduce(getattr, key.split("."), config)


def _numbers(content: Any, key: str) -> Iterator[tuple[str, float]]:
    """Every number of a configuration with its key."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list):
        for value in content:
            yield from _numbers(value, key)
    elif isinstance(content, float):
        yield key, content


def _ascending(name: str, values: Sequence[int]) -> None:
    if not values or values[0] < 1 or any(a >= b for a, b in pairwise(values)):
        raise InputError(f"{name} must be ascending and at least 1, found {list(values)}")
