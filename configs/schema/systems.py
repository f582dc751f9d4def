"""Keys that a single system reads, or a few that are alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from configs.schema.fields import key


class BoostObjective(StrEnum):
    binary = "binary"
    lambdarank = "lambdarank"


@dataclass
class LightGBMConfig:
    """The boosted trees a user would pick instead."""

    objective: BoostObjective = key(BoostObjective.binary, "binary (each row), or lambdarank (pairs within a list)")
    trees: int = key(1000, "trees at most; validation stops earlier", above=0)
    leaves: int = key(31, "leaves of a tree", at_least=2)
    learning_rate: float = key(0.05, "shrinkage", above=0)
    min_rows: int = key(20, "rows in a leaf at least", above=0)
    patience: int = key(
        50, "trees without a better AUC (lambdarank: expected NDCG@10) on validation before it stops", above=0
    )


class DistillationLoss(StrEnum):
    soft_labels = "soft_labels"
    logit_mse = "logit_mse"


@dataclass
class DistillationConfig:
    """Point-wise distillation of the ranking model's scores."""

    loss: DistillationLoss = key(
        DistillationLoss.soft_labels, "soft_labels (cross-entropy at a temperature) or logit_mse (squared distance)"
    )
    temperature: float = key(
        1.0, "soft_labels: T that both logits are divided by; the loss is multiplied by T squared", above=0
    )
    weight: float = key(0.1, "of the distillation loss beside the feedback losses", at_least=0)


@dataclass
class PretrainedItemConfig:
    """psi's rows in phi's place."""

    train: bool = key(False, "True: the rows are where training starts from; False: they stay as pre-trained")
    attributes: bool = key(True, "the item's attributes go to PLE beside psi's row; False: psi's row alone")


class ListLoss(StrEnum):
    none = "none"
    softmax = "softmax"
    relaxed_recall = "relaxed_recall"
    pairs = "pairs"


@dataclass
class PlusConfig:
    """What grace_plus has beside GRACE; nothing of it costs anything when serving."""

    list_loss: ListLoss = key(
        ListLoss.none,
        "over whole lists: softmax or relaxed_recall of the rank logit, COPR's pairs of click and order logit, or none",
    )
    list_weight: float = key(0.1, "of the loss over whole lists", at_least=0)
    unranked_below: bool = key(False, "True: a row that was recalled but not ranked is below every k, not unknown")
    attributes_only: bool = key(
        False, "True: eq. 10 is about phi without the id's embedding, so that attributes have to carry psi"
    )
    negatives_in_p: bool = key(False, "True: eq. 10's negatives are items of P only; others are left alone")
    query_weight: float = key(
        0.0, "of the contrast of the request's vector with psi of the clicked item; 0: none", at_least=0
    )


@dataclass
class DSSMConfig:
    """Two towers and a softmax over the batch's items."""

    gamma: float = key(10.0, "what the cosine of the two towers is multiplied by", above=0)


@dataclass
class COLDConfig:
    """Feature selection under a compute budget."""

    groups: int = key(12, "feature groups kept, the most important ones; a log with no more keeps all", above=0)


@dataclass
class CoprConfig:
    """COPR-style pairs of the ranked list."""

    chunk: int = key(5, "neighbouring positions of the ranked list that make one chunk", above=0)
    weight: float = key(0.1, "of the pairwise loss beside the feedback losses", at_least=0)


@dataclass
class RankFlowConfig:
    """RankFlow's lessons from the ranking model."""

    top: int = key(10, "k: the ranked list's first k against the rest", above=0)
    alpha: float = key(
        0.9, "of the top-k loss; 1 - alpha of the squared distance to the ranking model's scores", between=(0, 1)
    )


@dataclass
class ColdIdsConfig:
    """Items whose hashed id says too little, and what is put in its place."""

    impressions: int = key(10, "training impressions below which an item's id is cold", above=0)
    alpha: float = key(
        0.1, "meta_embedding: weight of the loss before the step; 1 - alpha of the loss after it", between=(0, 1)
    )
    step: float = key(0.1, "meta_embedding: rate of the one gradient step on the generated embedding", at_least=0)


class HistoryPooling(StrEnum):
    attention = "attention"
    sdim = "sdim"


@dataclass
class DINConfig:
    """The user's earlier items, seen in the light of a candidate."""

    pooling: HistoryPooling = key(HistoryPooling.attention, "attention (DIN) or sdim (hash collisions)")
    hidden: int = key(16, "attention: width of the attention unit's hidden layer", above=0)
    hashes: int = key(48, "sdim: random hyperplanes; a multiple of sdim's bits", above=0)
    bits: int = key(3, "sdim: hyperplanes whose signs make one signature", above=0)


@dataclass
class DeepFMConfig:
    """The deep part of DeepFM."""

    hidden: list[int] = key(
        [512, 192], "hidden layers, common to the tasks; scaled to PLE's number of parameters", above=0
    )


@dataclass
class PFDConfig:
    """Privileged features distillation."""

    weight: float = key(
        0.5, "lambda: the student learns (1 - lambda) from feedback and lambda from the teacher", between=(0, 1)
    )
    swap_epochs: float = key(0.5, "epochs before lambda is switched on, until when it is 0", at_least=0)
    student_pair: bool = key(
        True, "the student sees the pair side, as all systems do; False: as in the paper it does not, which is unequal"
    )
