"""Psi that goes on from yesterday's: its parameters where both encoders have them, judged by pairs that are new."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from configs.schema import Config, PretrainConfig
from graph.logs.log import SearchLog
from graph.store import Graph
from pretrain.node_features import node_features
from pretrain.psi import initial_encoder, lesson, train_psi
from pretrain.sampling import Pairs
from pretrain.targets import engaged_pairs, split_pairs
from pretrain.training import BEST, read_parameters
from pretrain.warm_start import TABLE, WarmStart

Planted = tuple[SearchLog, Graph]
CONFIG = Config(
    pretrain=PretrainConfig(
        dimension=8,
        hidden=16,
        fan_out=[4, 3],
        max_epochs=1,
        batch_size=64,
        text_buckets=500,
        text_dimension=8,
        threads=1,
    )
)


def test_the_encoder_starts_as_yesterdays_ended(planted: Planted, tmp_path: Path) -> None:
    log, graph = planted
    train_psi(graph, log, CONFIG, tmp_path / "pretrain")
    features = node_features(graph, log, CONFIG.data, CONFIG.pretrain)
    ended = read_parameters(tmp_path / "pretrain" / "checkpoints" / BEST)
    buckets = features["item"].buckets
    dropped = {name: values for name, values in ended.items() if not name.startswith("layers.1")}
    start = WarmStart(dropped | {TABLE: ended[TABLE][1:]}, buckets[1:], graph)  # yesterday had one bucket less
    warm = initial_encoder(graph, features, CONFIG, start).state_dict()
    cold = initial_encoder(graph, features, CONFIG).state_dict()
    assert torch.equal(warm[TABLE][1:], ended[TABLE][1:])
    assert torch.equal(warm[TABLE][0], cold[TABLE][0])
    for name, values in warm.items():
        if name != TABLE:
            assert torch.equal(values, (cold if name.startswith("layers.1") else ended)[name]), name


def test_what_is_held_out_was_never_learnt(planted: Planted) -> None:
    log, graph = planted
    features = node_features(graph, log, CONFIG.data, CONFIG.pretrain)
    start = WarmStart({}, features["item"].buckets, graph)
    pairs = engaged_pairs(graph)
    assert not start.unseen(pairs, graph).any()
    assert len(lesson(graph, features, CONFIG, start).held.held_out) > 0  # where nothing is new, any may be
    new = np.arange(len(pairs)) % 4 == 0
    training, held_out = split_pairs(pairs, 0.05, 0, new)
    assert len(training) + len(held_out) == len(pairs)
    assert 0 < len(held_out) <= new.sum() // 2

    def codes(some: Pairs) -> np.ndarray:
        return np.asarray(some.queries * graph.node_counts["item"] + some.items)

    assert np.isin(codes(held_out), codes(pairs.take(new))).all()
