"""Networks of every system on the tiny marketplace, with weights that are large enough to tell mistakes apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from configs.command import Invocation, parse
from configs.stages import write_json
from prerank import systems
from prerank.encoding.batches import EncodedLog
from prerank.fitting import open_work
from prerank.network.feature_groups import group_names
from prerank.network.inputs import HashedTable, NumberEncoder
from prerank.systems.cold import GROUPS
from prerank.systems.cold_ids import WarmedIds
from prerank.systems.dssm import TwoTowers
from prerank.training.network_system import NetworkSystem

NETWORKS = {
    "ple": (),
    "ple_two_levels": ("model.experts.levels=2", "model.rank.head=per_k", "model.conversion_space=esmm"),
    "ple_ordinal": ("model.rank.head=ordinal", "model.conversion_space=click", "model.item.hidden=[]"),
    "ple_quotient": ("model.item.hashing=quotient_remainder", "model.experts.tower=[]"),
    "grace": (),
    "grace_plus": (),
    "grace_no_hash_id": (),
    "copr": (),
    "rankflow": (),
    "distillation": (),
    "pfd": ("model.pfd.student_pair=false",),
    "esmm": (),
    "mmoe": (),
    "din": (),
    "din_sdim": ("model.din.pooling=sdim",),
    "cold": (),
    "cold_without_item": (),
    "deepfm": (),
    "deepfm_no_id": ("model.item.use_hash_id=false",),
    "dssm": (),
    "mwuf": (),
    "meta_embedding": (),
    "pretrained_item_id": (),
    "pretrained_item_id_alone": ("model.pretrained.attributes=false",),
}
"""A name of our own, which begins with the model's → overrides."""
ARCHITECTURES = (
    *("ple_two_levels", "ple_ordinal", "grace", "esmm", "mmoe", "din", "din_sdim", "cold", "deepfm", "dssm", "mwuf"),
    *("meta_embedding", "pretrained_item_id"),
)
"""Those that differ in more than their losses: tracing a graph takes seconds."""
MODELS = ("ple", "din", "cold", "deepfm", "pretrained_item_id")
"""The models that have variants."""


@pytest.fixture(scope="session")
def encoded_market(market: Invocation) -> EncodedLog:
    """The encoded tiny marketplace: lists and texts, tables that columns share, users, queries and pairs."""
    return EncodedLog.open(market.run.encoded)


@pytest.fixture
def system_of(market: Invocation, encoded_market: EncodedLog, tmp_path: Path) -> Callable[[str], NetworkSystem]:
    """Makes a system by its name in :data:`NETWORKS`, as it would be after training: in evaluation mode."""

    def make(name: str) -> NetworkSystem:
        model = next((each for each in MODELS if name.startswith(f"{each}_")), name)
        small = ("model.item.hash_vocabulary=64", "model.buckets=32", "model.dimension=4")
        experts = ("model.experts.hidden=[16,8]", "model.experts.tower=[8]", "model.deepfm.hidden=[16,8]")
        place = (f"runs_folder={market.run.root.parent}", "run=market", f"model={model}")
        config = parse([*place, *small, *experts, *NETWORKS[name]]).config
        work = replace(open_work(config, market.run, encoded_market), folder=tmp_path)
        groups = group_names(encoded_market.schema, config.model)
        without_item = [group for group in groups if not group.startswith("item/")]
        write_json(tmp_path / GROUPS, {"kept": without_item if name == "cold_without_item" else groups[::2]})
        torch.manual_seed(1)
        system = systems.find(config.model)(work)  # type: ignore[operator]
        assert isinstance(system, NetworkSystem)
        _enlarge(system, encoded_market)
        return system.eval()

    return make


@torch.no_grad()
def _enlarge(system: NetworkSystem, encoded: EncodedLog) -> None:
    for module in system.modules():
        if isinstance(module, HashedTable | NumberEncoder):
            module.weight.normal_()
        if isinstance(module, WarmedIds):
            module.remember_users(system.network.request, encoded.split("train"))
            for layers in (module.scale, module.shift):
                layers[-1].weight.normal_()
    if isinstance(system.network, TwoTowers):
        system.network.slope.fill_(0.5)
        system.network.intercept.fill_(-1.0)
