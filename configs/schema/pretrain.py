"""Keys of the room ``pretrain``: psi."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from configs.schema.fields import key


class Backend(StrEnum):
    pyg = "pyg"
    dgl = "dgl"


class GraphObjective(StrEnum):
    softmax = "softmax"
    graphsage = "graphsage"


@dataclass
class PretrainConfig:
    """GraphSAGE by link prediction: the embeddings psi."""

    dimension: int = key(32, "length of psi", above=0)
    hidden: int = key(64, "width of the hidden layer", above=0)
    fan_out: list[int] = key([15, 10], "neighbours sampled per relation type, one number a layer", above=0)
    objective: GraphObjective = key(
        GraphObjective.softmax, "softmax (in-batch, logQ-corrected) or graphsage (degree^0.75)"
    )
    temperature: float = key(0.1, "of the in-batch softmax over cosines", above=0)
    negatives: int = key(5, "graphsage objective: negatives per positive", at_least=0)
    hard_negatives: int = key(1, "same-category negatives per positive after the warm-up; 0 turns them off", at_least=0)
    warmup_epochs: int = key(2, "epochs before hard negatives are used", at_least=0)
    cold_share: float = key(
        0.2, "share of a batch's items encoded as if never engaged, so that induction works", between=(0, 1)
    )
    max_epochs: int = key(20, "epochs at most; early stopping usually ends before", above=0)
    patience: int = key(3, "validations without a better MRR before training stops", above=0)
    batch_size: int = key(512, "target edges a step", above=0)
    learning_rate: float = key(0.005, "of Adam", above=0)
    validation_share: float = key(0.05, "share of query-item edges held out to validate psi", share=True)
    text_buckets: int = key(50_000, "hash buckets of n-grams and attribute values", above=0)
    text_dimension: int = key(32, "length of an n-gram's or attribute's embedding", above=0)
    min_engagement: float = key(
        2.0, "engaged events an item needs to belong to P, the items psi is kept for", at_least=0
    )
    shuffled: bool = key(False, "null control: psi's rows are dealt out to other items of P, as a shuffled graph would")
    threads: int = key(2, "CPU threads", above=0, at_most=1024)
