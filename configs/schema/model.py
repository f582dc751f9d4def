"""Keys of a pre-ranking system: phi, PLE, the losses of GRACE, and the sections of the other systems."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from configs.schema.fields import key
from configs.schema.systems import (
    COLDConfig,
    ColdIdsConfig,
    CoprConfig,
    DeepFMConfig,
    DINConfig,
    DistillationConfig,
    DSSMConfig,
    LightGBMConfig,
    PFDConfig,
    PlusConfig,
    PretrainedItemConfig,
    RankFlowConfig,
)


class Hashing(StrEnum):
    single = "single"
    double = "double"
    quotient_remainder = "quotient_remainder"


@dataclass
class ItemNetworkConfig:
    """phi: hashed id and attributes to one vector."""

    hash_vocabulary: int = key(100_000, "rows of the hash-id table (paper: 3,000,000)", above=0)
    hash_dimension: int = key(32, "length of a hash-id embedding (paper: 32)", above=0)
    hashing: Hashing = key(Hashing.single, "single, double (sum of two hashes) or quotient_remainder")
    use_hash_id: bool = key(True, "False: attributes only (the paper's ablation 'w/o hash id')")
    hidden: list[int] = key([64], "hidden layers between the concatenated embeddings and phi", above=0)


@dataclass
class ExpertsConfig:
    """Progressive layered extraction (Tang et al. 2020)."""

    levels: int = key(1, "extraction levels", above=0)
    shared: int = key(2, "shared experts per level", at_least=0)
    specific: int = key(2, "own experts of each task per level", at_least=0)
    hidden: list[int] = key([128, 64], "layers of an expert", above=0)
    tower: list[int] = key([64], "hidden layers of a task's tower", above=0)
    dropout: float = key(0.0, "after each hidden layer", between=(0, 1))


class ConversionSpace(StrEnum):
    impression = "impression"
    click = "click"
    esmm = "esmm"


class RankHead(StrEnum):
    none = "none"
    shared = "shared"
    per_k = "per_k"
    ordinal = "ordinal"


@dataclass
class RankConfig:
    """Rank-consistency heads, eqs. 6-9."""

    head: RankHead = key(RankHead.shared, "none, shared (one y_rank for every k, as eq. 8 says), per_k or ordinal")
    weight: float = key(0.1, "lambda_1 of eq. 11", at_least=0)
    k_weights: list[float] = key([], "w_k of eq. 9; empty: 1/|K| each", at_least=0)


class Contrast(StrEnum):
    none = "none"
    phi_phi = "phi_phi"
    phi_psi = "phi_psi"
    literal = "literal"
    relational = "relational"
    mse = "mse"
    cosine = "cosine"


class Reduction(StrEnum):
    mean = "mean"
    sum = "sum"


@dataclass
class ContrastConfig:
    """The generalisation loss, eq. 10, its variants and controls."""

    loss: Contrast = key(
        Contrast.phi_phi, "none, eq. 10: phi_phi (with L2), literal; phi_psi, relational; controls: mse, cosine"
    )
    weight: float = key(0.1, "lambda_2 of eq. 11", at_least=0)
    temperature: float = key(0.1, "tau of eq. 10", above=0)
    reduction: Reduction = key(Reduction.mean, "mean over the anchors, or sum as eq. 10 is printed")
    mask_above: float = key(0.9, "psi-cosine above which a pair is no negative; 1 turns the mask off", between=(-1, 1))


@dataclass
class ModelConfig:
    """One pre-ranking system: a file of configs/model."""

    name: str = key("grace", "grace, ple, lightgbm or another file of configs/model, or of the folder models here")
    system: str | None = key(
        None, "its module: of prerank/systems, or any that Python can import from this folder; none: as name"
    )
    fixed: list[str] = key([], "keys of model that make it what it is, e.g. rank.head: a command may not change them")
    dimension: int = key(16, "length of the embeddings of attributes, queries, users and numbers' buckets", above=0)
    buckets: int = key(20_000, "rows of the hashed table of each id column other than the item's id", above=0)
    item: ItemNetworkConfig = key(ItemNetworkConfig, "phi")
    experts: ExpertsConfig = key(ExpertsConfig, "PLE")
    conversion_space: ConversionSpace = key(ConversionSpace.impression, "eq. 3: impression (literal), click or esmm")
    rank: RankConfig = key(RankConfig, "rank consistency")
    contrast: ContrastConfig = key(ContrastConfig, "generalisation")
    lightgbm: LightGBMConfig = key(LightGBMConfig, "model=lightgbm and model=lightgbm_lambdarank only")
    distillation: DistillationConfig = key(DistillationConfig, "model=distillation only")
    pretrained: PretrainedItemConfig = key(PretrainedItemConfig, "model=pretrained_item_id only")
    plus: PlusConfig = key(PlusConfig, "model=grace_plus only")
    dssm: DSSMConfig = key(DSSMConfig, "model=dssm only")
    cold: COLDConfig = key(COLDConfig, "model=cold only")
    copr: CoprConfig = key(CoprConfig, "model=copr only")
    rankflow: RankFlowConfig = key(RankFlowConfig, "model=rankflow only")
    cold_ids: ColdIdsConfig = key(ColdIdsConfig, "model=meta_embedding and model=mwuf only")
    din: DINConfig = key(DINConfig, "model=din, and the teacher of model=pfd")
    deepfm: DeepFMConfig = key(DeepFMConfig, "model=deepfm only")
    pfd: PFDConfig = key(PFDConfig, "model=pfd only")
