"""The pre-ranker: encoded columns, batches, item network, experts, losses, systems and their evaluation."""

from typing import TYPE_CHECKING

import configs as configs  # sets how OpenMP threads wait, before anything loads the library
from configs.lazy import lazily

__all__ = [
    "Request",
    "Scorer",
    "compare_systems",
    "evaluate_system",
    "export_bundle",
    "fit_system",
    "load_system",
    "paired_difference",
    "read_evaluation",
    "score_log",
    "tune_system",
]

if TYPE_CHECKING:
    from prerank.compare.comparison import compare_systems as compare_systems
    from prerank.evaluating import evaluate_system as evaluate_system
    from prerank.evaluation.evaluation import paired_difference as paired_difference
    from prerank.evaluation.evaluation import read_evaluation as read_evaluation
    from prerank.exporting.bundle import export_bundle as export_bundle
    from prerank.fitting import fit_system as fit_system
    from prerank.loading import load_system as load_system
    from prerank.scoring import score_log as score_log
    from prerank.serving.request import Request as Request
    from prerank.serving.scorer import Scorer as Scorer
    from prerank.tune.tuning import tune_system as tune_system
else:
    __getattr__ = lazily(
        __name__,
        {
            "fit_system": "prerank.fitting",
            "evaluate_system": "prerank.evaluating",
            "load_system": "prerank.loading",
            "tune_system": "prerank.tune.tuning",
            "compare_systems": "prerank.compare.comparison",
            "read_evaluation": "prerank.evaluation.evaluation",
            "paired_difference": "prerank.evaluation.evaluation",
            "score_log": "prerank.scoring",
            "export_bundle": "prerank.exporting.bundle",
            "Request": "prerank.serving.request",
            "Scorer": "prerank.serving.scorer",
        },
    )
