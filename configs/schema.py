"""The typed configuration: every key, its default, its unit and its meaning. ``--help`` is printed from here.

One dataclass a stage. A YAML file under ``configs/data``, ``configs/model`` or ``configs/experiment`` only states
what differs from these defaults, so there is one place to look a default up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from configs.ranges import LARGEST_PORT, LARGEST_SEED, limits


def key(default: Any, help: str, **bounds: Any) -> Any:
    """A configuration key; mutable defaults are copied for each instance.

    Args:
        default: its value where nobody says another, or the class of a section.
        help: its meaning and unit.
        bounds: which values it takes, as in :func:`configs.ranges.limits`.
    """
    metadata = {"help": help, "limits": limits(**bounds)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


class Backend(StrEnum):
    pyg = "pyg"
    dgl = "dgl"


class GraphEngine(StrEnum):
    duckdb = "duckdb"
    spark = "spark"


class SplitBy(StrEnum):
    auto = "auto"
    day = "day"
    session = "session"


class FeatureKind(StrEnum):
    id = "id"
    number = "number"
    text = "text"
    list = "list"


class Side(StrEnum):
    item = "item"
    request = "request"
    pair = "pair"


class RankHead(StrEnum):
    none = "none"
    shared = "shared"
    per_k = "per_k"
    ordinal = "ordinal"


class ConversionSpace(StrEnum):
    impression = "impression"
    click = "click"
    esmm = "esmm"


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


class ListLoss(StrEnum):
    none = "none"
    softmax = "softmax"
    relaxed_recall = "relaxed_recall"
    pairs = "pairs"


class Hashing(StrEnum):
    single = "single"
    double = "double"
    quotient_remainder = "quotient_remainder"


class HistoryPooling(StrEnum):
    attention = "attention"
    sdim = "sdim"


class DistillationLoss(StrEnum):
    soft_labels = "soft_labels"
    logit_mse = "logit_mse"


class BoostObjective(StrEnum):
    binary = "binary"
    lambdarank = "lambdarank"


class TablePrecision(StrEnum):
    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


class GraphObjective(StrEnum):
    softmax = "softmax"
    graphsage = "graphsage"


@dataclass
class FeatureConfig:
    """One column that the models may see."""

    column: str = key("", "name of the column in the log or in the items, users or queries table")
    kind: FeatureKind = key(FeatureKind.id, "id (hashed), number, text (hashed n-grams), list (of ids, mean-pooled)")
    side: Side = key(Side.item, "item, request (query, user, context) or pair (of this item in this request)")
    table: str | None = key(None, "share the embedding table of this other column (a list of items: item_id)")


@dataclass
class SplitConfig:
    """Which requests train, validate and test: by time, never at random."""

    by: SplitBy = key(SplitBy.auto, "day (whole days), session (whole sessions by their start), or auto: days if >= 3")
    shares: list[float] = key([0.7, 0.1, 0.2], "shares of requests for train, validation, test, in order of time")
    train: list[str] = key([], "explicit days, e.g. [2024-01-01..2024-01-14]; overrides shares")
    validation: list[str] = key([], "explicit days for validation")
    test: list[str] = key([], "explicit days for test")


@dataclass
class DataConfig:
    """Which log is read and how its columns are used."""

    name: str = key(
        "marketplace",
        "marketplace, contract, trivago, expedia, jdsearch, aliexpress, aliccp: a file of configs/data",
    )
    path: str | None = key(None, "file or folder of the log; not used by the marketplace")
    world: str = key("default", "marketplace only: a file of configs/world")
    rejected_share: float = key(0.01, "share of bad rows above which reading stops with an error", between=(0, 1))
    split: SplitConfig = key(SplitConfig, "train, validation, test")
    features: list[FeatureConfig] = key(
        [], "the columns models may see; empty: ids, and every attribute column of items, users and queries"
    )
    attributes: list[str] = key(
        [], "item columns that become nodes where graph.attributes is empty; empty: brand, shop, category"
    )
    cutoffs: list[int] = key(
        [10, 30, 50, 100], "K of eq. 6: page size and browsing depth of this platform", ascending=True
    )


@dataclass
class GraphConfig:
    """Logs to the query-item-attribute co-engagement graph."""

    days: list[str] = key([], "training days to use, as in data.split.train; empty: all training days")
    weight_click: float = key(1.0, "weight of a clicked impression", at_least=0)
    weight_order: float = key(4.0, "weight of an ordered impression, in place of the click's", at_least=0)
    weight_touch: float = key(0.5, "weight of an item touched in the session before the request (history)", at_least=0)
    half_life_days: float = key(14.0, "days after which an event's weight halves", above=0)
    degree_cap: int = key(100, "heaviest edges kept per node and relation", above=0)
    item_item_window: int = key(20, "engaged items of one session that are paired with each other at most", at_least=2)
    attributes: list[str] = key(
        [], "item columns that become nodes; empty: brand, shop, category where the log has them"
    )
    memory_limit_gb: float = key(4.0, "memory DuckDB may use before it spills to disk, in GB", above=0)


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
    threads: int = key(2, "CPU threads", above=0)


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


@dataclass
class RankConfig:
    """Rank-consistency heads, eqs. 6-9."""

    head: RankHead = key(RankHead.shared, "none, shared (one y_rank for every k, as eq. 8 says), per_k or ordinal")
    weight: float = key(0.1, "lambda_1 of eq. 11", at_least=0)
    k_weights: list[float] = key([], "w_k of eq. 9; empty: 1/|K| each", at_least=0)


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


@dataclass
class PrerankConfig:
    """Training of a pre-ranking system."""

    max_epochs: int = key(5, "epochs at most; the best validation within them is kept", above=0)
    batch_size: int = key(1024, "rows a step", above=0)
    learning_rate: float = key(0.02, "of Adagrad (paper: 0.05)", above=0)
    table_accumulator: float = key(
        1e-4, "Adagrad's accumulator of embedding tables at the start, in squared gradients", at_least=0
    )
    validations_per_epoch: int = key(8, "validations within an epoch, evenly spaced, at least 10 steps apart", above=0)
    patience: int = key(6, "validations without a better one before training stops", above=0)
    precision: str = key(
        "32-true",
        "of the matrix products; auto: both are measured and the faster one taken, so machines may differ",
        choices=("32-true", "bf16-mixed", "auto"),
    )
    threads: int = key(2, "CPU threads", above=0)


@dataclass
class EvaluationConfig:
    """Metrics, segments and intervals."""

    recall_at: list[int] = key(
        [3, 10, 20, 50, 100], "k of Recall@k; those that the lists cannot tell are left out", ascending=True
    )
    draws: int = key(1000, "bootstrap draws by request", above=0)
    seed: int = key(
        0,
        "of the bootstrap: the same for all runs, so that systems and training seeds are paired",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    confidence: float = key(0.95, "of the intervals", share=True)
    tail_share: float = key(0.1, "share of training impressions that the tail holds", between=(0, 1))
    head_share: float = key(0.5, "share of training impressions that the head holds", between=(0, 1))


@dataclass
class IndexConfig:
    """FAISS audit of psi and phi."""

    neighbours: list[int] = key([10, 50], "k of overlap@k", ascending=True)
    queries: int = key(20_000, "items whose neighbours are searched at most; drawn with the run's seed", above=0)
    hold_out: float = key(0.1, "share of P held out for the cold-start protocol", share=True)
    hold_out_max_epochs: int = key(10, "epochs of the hold-out's psi at most", above=0)
    a: str | None = key(None, "folder of an embedding table: audit b against it in place of a run's phi; short: a=")
    b: str | None = key(None, "folder of the other embedding table; short: b=")
    items: str | None = key(None, "Parquet file of the tables' items (item_id, attributes), for purity; short: items=")
    output: str | None = key(
        None, "where the audit of two tables is written; none: runs/<run>/index/tables, or audit_of_tables without run="
    )


@dataclass
class MechanismsConfig:
    """What each module of GRACE gains in markets whose truth is known."""

    plan: str | None = key(None, "a YAML file of modules and conditions; none: configs/mechanisms.yaml")
    conditions: list[str] = key([], "conditions of the plan to fit and report; empty: all")
    seeds: int = key(
        5, "markets of each kind: seed, seed + 1, ...; each is simulated and trained with its own seed", above=0
    )
    workers: int = key(0, "fits at a time, one CPU thread each; 0: one per core", at_least=0)


@dataclass
class CompareConfig:
    """Systems side by side, on several seeds and data."""

    systems: list[str] = key(["popularity", "lightgbm", "ple", "grace"], "what is compared: files of configs/model")
    baseline: str = key("ple", "the one of compare.systems that the others are subtracted from")
    seeds: int = key(
        5, "seed, seed + 1, ...: of psi and training; of the marketplace also of the market itself", above=0
    )
    workers: int = key(0, "fits at a time, one CPU thread each; 0: one per core", at_least=0)
    plan: str | None = key(
        None, "a YAML file of several data (docs/guides/comparison.md); none: that of the command line"
    )
    tuned: str | None = key(None, "a folder of SYSTEM/best.yaml whose keys are added to that system's fits")


@dataclass
class ABConfig:
    """A/B replay: fitted systems drive the simulated marketplace on the days after the log."""

    runs: list[str] = key(
        [], "marketplace runs, each of another world or seed, compared one by one and together; empty: run"
    )
    days: int = key(7, "days that are replayed after the log's last one", above=0)
    control: str = key("ple", "what the others are compared with: a fitted system, or logging")
    systems: list[str] = key([], "fitted systems to replay beside the control; empty: all that every run has")
    draws: int = key(2000, "bootstrap draws over users, of GMV", above=0)
    quantile: float = key(
        0.99, "of the control's users, above which a user's GMV is cut to that of the quantile", share=True
    )


@dataclass
class TuneConfig:
    """Search of a system's few hyper-parameters on validation."""

    trials: int = key(20, "trials, the same for every system; the first one is what is configured", above=0)
    objective: list[str] = key(
        ["gauc_click", "recall_at_10"], "figures of the fused score on validation; their plain mean is maximised"
    )
    workers: int = key(
        1, "trials at a time; if several, each in a process of its own with one thread; 0: one per core", at_least=0
    )
    space: str | None = key(None, "a YAML file of what is searched for each system; none: configs/tune.yaml")


@dataclass
class ServeConfig:
    """The reports of all runs in a browser, on this machine only."""

    port: int = key(8765, "of 127.0.0.1; 0: a free one, which the command prints", at_least=0, at_most=LARGEST_PORT)


@dataclass
class ExportConfig:
    """A fitted system as a bundle: one folder that is served without the training code."""

    tables: TablePrecision = key(
        TablePrecision.fp32, "embedding tables and phi: fp32, fp16, or int8 with a scale for each row"
    )
    folder: str | None = key(None, "of the bundle; none: runs/<run>/bundles/<name of the system>")


@dataclass
class ServiceConfig:
    """A bundle behind HTTP."""

    bundle: str | None = key(
        None, "folder of a bundle, or a link to one: what is put in its place is loaded; short: bundle="
    )
    host: str = key("127.0.0.1", "address to listen on; 0.0.0.0: every one of this machine, and no check of who asks")
    port: int = key(8080, "0: a free one, which the command prints", at_least=0, at_most=LARGEST_PORT)
    threads: int = key(0, "threads that score one request; 0: one per core", between=(0, 1024))
    workers: int = key(1, "requests that are scored at a time", between=(1, 64))
    queue: int = key(
        32, "requests that are taken at a time, scored or waiting; one more is answered 429", between=(1, 10_000)
    )
    candidates: int = key(20_000, "candidates of a request, or of a batch in all", between=(1, 1_000_000))
    batch: int = key(100, "requests of a batch", between=(1, 10_000))
    body_bytes: int = key(16_777_216, "of a request", between=(1024, 1_073_741_824))
    time_limit_ms: int = key(
        1000, "from a request's head to its answer, which is 408, 503 or 504 after it", between=(1, 600_000)
    )
    poll_seconds: float = key(1.0, "between two looks at the bundle's manifest", between=(0.01, 3600))


@dataclass
class TrendsConfig:
    """Figures of several runs or dates, and what moved."""

    runs: list[str] = key([], "folders of runs_folder, e.g. [monday,tuesday]; empty: all that have the same data")
    systems: list[str] = key([], "systems to report, the audits of their phi included; empty: all")
    metrics: list[str] = key([], "metrics to report, e.g. [gauc_click,recall_at_10]; empty: all")
    segments: list[str] = key([], "segments to report, e.g. [all,tail]; empty: all")


@dataclass
class Config:
    """Everything a command can be told.

    Examples:
        >>> from configs import Config
        >>> Config().prerank.batch_size
        1024
    """

    run: str = key("default", "name of the run: its folder under runs_folder")
    runs_folder: str = key("runs", "folder of all runs")
    name: str | None = key(None, "name that a system is fitted under in its run: prerank/<name>; none: model.name")
    overwrite: bool = key(False, "replace what was finished with other keys or data, once the new one is complete")
    experiment: str | None = key(None, "a file of configs/experiment, merged over data and model; paper: GRACE 3.1.4")
    seed: int = key(0, "of everything random", at_least=0, at_most=LARGEST_SEED)
    backend: Backend = key(Backend.pyg, "graph library that trains psi: pyg or dgl")
    engine: GraphEngine = key(GraphEngine.duckdb, "engine that turns logs into edges: duckdb or spark")
    data: DataConfig = key(DataConfig, "the log")
    graph: GraphConfig = key(GraphConfig, "the co-engagement graph")
    pretrain: PretrainConfig = key(PretrainConfig, "psi")
    model: ModelConfig = key(ModelConfig, "the pre-ranking system")
    prerank: PrerankConfig = key(PrerankConfig, "its training")
    evaluation: EvaluationConfig = key(EvaluationConfig, "its evaluation")
    index: IndexConfig = key(IndexConfig, "the audit of embeddings")
    mechanisms: MechanismsConfig = key(MechanismsConfig, "the experiment on GRACE's modules")
    compare: CompareConfig = key(CompareConfig, "the comparison of systems")
    ab: ABConfig = key(ABConfig, "the A/B replay")
    tune: TuneConfig = key(TuneConfig, "the search of hyper-parameters")
    serve: ServeConfig = key(ServeConfig, "the reports of all runs in a browser")
    export: ExportConfig = key(ExportConfig, "the bundle of a fitted system")
    service: ServiceConfig = key(ServiceConfig, "a bundle behind HTTP")
    trends: TrendsConfig = key(TrendsConfig, "the comparison of runs over time")

    @property
    def system(self) -> str:
        """The folder of the fitted system within ``runs/<run>/prerank``."""
        return self.name or self.model.name
