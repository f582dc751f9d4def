"""What each model's file comes to: the parts of GRACE's loss that it has, which the defaults alone would switch on."""

from __future__ import annotations

import pytest

from configs.command import CONFIGS, parse
from configs.schema import Contrast, ConversionSpace, Hashing, RankHead

NAMES = sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml"))
WITH_RANK = {"grace", "grace_plus", "grace_no_generalization", "grace_no_hash_id", "pretrained_item_id", "distillation"}
READ_RANK = {*NAMES} - {"lightgbm", "lightgbm_lambdarank", "popularity"}
READ_CONTRAST = {*WITH_RANK, "grace_no_consistency"} - {"distillation"}
WITH_CONTRAST = {"grace", "grace_plus", "grace_no_consistency", "grace_no_hash_id"}


@pytest.mark.parametrize("name", NAMES)
def test_the_effective_model(name):
    model = parse([f"model={name}"], remember=False).config.model
    assert model.name == name
    if name in READ_RANK:
        assert model.rank.head is (RankHead.shared if name in WITH_RANK else RankHead.none)
    if name in READ_CONTRAST:
        assert model.contrast.loss is (Contrast.phi_phi if name in WITH_CONTRAST else Contrast.none)
    assert model.rank.weight == (1.0 if name == "grace_plus" else 0.1)
    assert (model.contrast.weight, model.contrast.temperature) == (0.1, 0.1)
    assert model.item.use_hash_id == (name not in {"grace_no_hash_id", "pretrained_item_id"})
    assert model.item.hashing is (Hashing.double if name == "grace_plus" else Hashing.single)
    assert model.conversion_space is (ConversionSpace.esmm if name == "esmm" else ConversionSpace.impression)
    assert model.lightgbm.objective == ("lambdarank" if name == "lightgbm_lambdarank" else "binary")
