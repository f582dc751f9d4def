"""A stage's identity is what it declares to read, no key more and none less; it can read no other."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields
from functools import reduce
from typing import Any

import numpy as np
import pytest

from configs.command import parse
from configs.keys import Keys, UndeclaredKeyError
from configs.layers import group_names
from configs.options import within
from configs.schema import Config
from graph import building
from graph.logs.prepare import log_keys
from index.measures import cold_start
from prerank import systems
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import ENCODED_KEYS
from prerank.fitting import FIGURE_KEYS, system_keys, train
from prerank.training.contracts import Work
from pretrain import psi
from pretrain.embeddings import EmbeddingTable

SYSTEMS = group_names("model")
STAGES: Mapping[str, Keys] = {
    "log": log_keys(Config()),
    "graph": building.KEYS,
    "psi": psi.KEYS,
    "encoded": ENCODED_KEYS,
    "figures": FIGURE_KEYS,
    "cold start": cold_start.KEYS,
    **{name: system_keys(parse([f"model={name}"]).config.model) for name in SYSTEMS},
}
EVERYTHING = Keys(tuple(entry.name for entry in fields(Config)))
SMALL = (
    *("model.item.hash_vocabulary=64", "model.buckets=64", "model.dimension=4", "model.experts.hidden=[8]"),
    *("model.experts.tower=[4]", "model.lightgbm.trees=2", "model.cold.groups=2", "model.din.hashes=6"),
    *(
        "prerank.batch_size=64",
        "prerank.threads=1",
        "prerank.max_epochs=1",
        "data.cutoffs=[3,5]",
        "pretrain.dimension=8",
    ),
)


def with_another_value(config: Config, key: str) -> Config:
    """The configuration with another value of one key, be it in the key's range or not."""
    changed = copy.deepcopy(config)
    *sections, name = key.split(".")
    section: Any = reduce(getattr, sections, changed)
    value = getattr(section, name)
    if isinstance(value, bool):
        another: Any = not value
    elif isinstance(value, int | float):
        another = value + 1
    else:
        another = [*value, "another"] if isinstance(value, list) else f"{value} another"
    setattr(section, name, another)
    return changed


@pytest.mark.parametrize("stage", STAGES)
def test_a_declared_key_changes_the_identity_and_no_other_does(stage: str) -> None:
    keys, config = STAGES[stage], parse([f"model={stage}"] if stage in SYSTEMS else []).config
    before = keys.settings(config)
    for key in EVERYTHING.settings(config):
        changed = keys.settings(with_another_value(config, key)) != before
        assert changed == (within(key, keys.determining) and not within(key, keys.indifferent)), key


@pytest.mark.parametrize("stage", STAGES)
def test_no_other_key_can_be_read(stage: str) -> None:
    keys, config = STAGES[stage], Config()
    view = keys.view(config)
    for key, value in EVERYTHING.settings(config).items():
        if within(key, (*keys.determining, *keys.indifferent)):
            assert reduce(getattr, key.split("."), view) == value
        else:
            with pytest.raises(UndeclaredKeyError, match=key):
                reduce(getattr, key.split("."), view)


def test_a_view_of_a_view_has_what_both_declare() -> None:
    view = Keys(("seed",)).view(Keys(("seed", "model.rank")).view(Config()))
    assert view.seed == 0
    with pytest.raises(UndeclaredKeyError):
        view.model.rank.weight  # noqa: B018


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_fitted_and_scores_with_what_it_declares(name, small_encoded_log: EncodedLog, tmp_path) -> None:
    encoded, keys, system = small_encoded_log, STAGES[name], systems.named(name)
    items = encoded.item_ids[: encoded.schema.n_items // 2]
    vectors = np.random.default_rng(0).normal(size=(len(items), 8)).astype(np.float32)
    table = EmbeddingTable(items, vectors, encoded.schema.catalogue, "psi") if system.NEEDS_PSI else None
    work = Work(keys.view(parse([f"model={name}", *SMALL]).config), encoded, table, tmp_path)
    train(work)
    assert system.load(work).predict(encoded.split("test")).click is not None


@pytest.mark.parametrize(
    ("stage", "key", "part"),
    [
        ("ple", "pretrain.dimension", True),  # φ is as long as ψ would be
        ("grace", "pretrain.dimension", False),  # φ is as long as ψ is
        ("grace", "model.dssm.gamma", False),
        ("grace", "model.copr.weight", False),
        ("grace", "model.rank.k_weights", True),
        ("grace", "data.cutoffs", True),
        ("ple", "prerank.precision", True),
        ("ple", "prerank.threads", False),
        ("lightgbm", "model.item.hidden", False),
        ("popularity", "prerank.learning_rate", False),
        ("psi", "data.features", True),
        ("psi", "pretrain.threads", False),
        ("graph", "graph.memory_limit_gb", False),
        ("log", "data.split.shares", True),
        ("encoded", "data.cutoffs", True),
        ("figures", "model.item.hashing", True),
        ("figures", "evaluation.tail_share", True),
        ("cold start", "model.contrast.reduction", True),
        ("cold start", "pretrain.threads", False),
    ],
)
def test_what_belongs_to_an_identity(stage: str, key: str, part: bool) -> None:
    assert (key in STAGES[stage].settings(Config())) == part
