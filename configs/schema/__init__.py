"""The typed configuration: every key, its default, its unit and its meaning. ``--help`` is printed from here.

One dataclass a stage; those of a room lie in a module of its own and are imported from here. A YAML file under
``configs/data``, ``configs/model`` or ``configs/experiment`` only states what differs from these defaults, so there is
one place to look a default up.
"""

from __future__ import annotations

from dataclasses import dataclass

from configs.ranges import LARGEST_SEED
from configs.schema.check import CheckConfig
from configs.schema.fields import key
from configs.schema.graph import (
    DataConfig,
    FeatureConfig,
    FeatureKind,
    GraphConfig,
    GraphEngine,
    Side,
    SplitBy,
    SplitConfig,
)
from configs.schema.index import IndexConfig, ServeConfig, TrendsConfig
from configs.schema.model import (
    Contrast,
    ContrastConfig,
    ConversionSpace,
    ExpertsConfig,
    Hashing,
    ItemNetworkConfig,
    ModelConfig,
    RankConfig,
    RankHead,
    Reduction,
)
from configs.schema.prerank import (
    ABConfig,
    CompareConfig,
    EvaluationConfig,
    ExportConfig,
    ExportTarget,
    MechanismsConfig,
    PrerankConfig,
    ScoreConfig,
    ServiceConfig,
    TablePrecision,
    TrainingLogger,
    TuneConfig,
)
from configs.schema.pretrain import Backend, GraphObjective, PretrainConfig
from configs.schema.systems import (
    BoostObjective,
    COLDConfig,
    ColdIdsConfig,
    CoprConfig,
    DeepFMConfig,
    DINConfig,
    DistillationConfig,
    DistillationLoss,
    DSSMConfig,
    HistoryPooling,
    LightGBMConfig,
    ListLoss,
    PFDConfig,
    PlusConfig,
    PretrainedItemConfig,
    RankFlowConfig,
)
from configs.schema.table import EventsConfig, ImpressionsConfig, KindsConfig, SourceConfig, TableConfig
from configs.schema.ubi import UbiConfig


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
    from_run: str | None = key(
        None,
        "yesterday's run, written from=: its graph, psi and systems are the start, newer rows of the log are the data",
    )
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
    score: ScoreConfig = key(ScoreConfig, "a new log, scored")
    index: IndexConfig = key(IndexConfig, "the audit of embeddings")
    mechanisms: MechanismsConfig = key(MechanismsConfig, "the experiment on GRACE's modules")
    compare: CompareConfig = key(CompareConfig, "the comparison of systems")
    ab: ABConfig = key(ABConfig, "the A/B replay")
    tune: TuneConfig = key(TuneConfig, "the search of hyper-parameters")
    serve: ServeConfig = key(ServeConfig, "the reports of all runs in a browser")
    export: ExportConfig = key(ExportConfig, "the bundle of a fitted system")
    service: ServiceConfig = key(ServiceConfig, "a bundle behind HTTP")
    check: CheckConfig = key(CheckConfig, "the look at a log before anything is made of it")
    trends: TrendsConfig = key(TrendsConfig, "the comparison of runs over time")

    @property
    def system(self) -> str:
        """The folder of the fitted system within ``runs/<run>/prerank``."""
        return self.name or self.model.name
