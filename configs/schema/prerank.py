"""Keys of the room ``prerank``: training, evaluation, experiments on systems, and a system put to use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from configs.ranges import LARGEST_PORT, LARGEST_SEED
from configs.schema.fields import key


class TrainingLogger(StrEnum):
    csv = "csv"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"


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
    threads: int = key(2, "CPU threads", above=0, at_most=1024)
    logger: TrainingLogger = key(
        TrainingLogger.tensorboard,
        "where the curves of a training go besides log/curve, which is CSV; mlflow and wandb need the extra [tracking]",
    )


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
class ScoreConfig:
    """A new log, scored by a fitted system."""

    folder: str | None = key(None, "of the results; none: runs/<run>/prerank/<name>/scores/<data>-<digest of its keys>")


class TablePrecision(StrEnum):
    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


class ExportTarget(StrEnum):
    bundle = "bundle"
    vespa = "vespa"
    opensearch = "opensearch"


@dataclass
class ExportConfig:
    """A fitted system as a bundle: one folder that is served without the training code."""

    tables: TablePrecision = key(
        TablePrecision.fp32, "embedding tables and phi: fp32, fp16, or int8 with a scale for each row"
    )
    folder: str | None = key(None, "of the bundle; none: runs/<run>/bundles/<name of the system>")
    target: ExportTarget = key(
        ExportTarget.bundle,
        "bundle, or beside it a package for vespa or opensearch: <folder>-vespa, <folder>-opensearch",
    )


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
        32,
        "requests that are taken at most, scored or waiting, fewer if they could not be scored in time; one more: 429",
        between=(1, 10_000),
    )
    candidates: int = key(20_000, "candidates of a request, or of a batch in all", between=(1, 1_000_000))
    batch: int = key(100, "requests of a batch", between=(1, 10_000))
    body_bytes: int = key(16_777_216, "of a request", between=(1024, 1_073_741_824))
    time_limit_ms: int = key(
        1000, "from a request's head to its answer, which is 408, 503 or 504 after it", between=(1, 600_000)
    )
    poll_seconds: float = key(1.0, "between two looks at the bundle's manifest", between=(0.01, 3600))
