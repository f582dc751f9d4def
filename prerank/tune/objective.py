"""What a trial is judged by: figures of the fused score on the validation rows, the same for every system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from configs.errors import InputError
from configs.schema import EvaluationConfig
from prerank.encoding.batches import EncodedLog
from prerank.evaluation.bootstrap import Statistic, Undefined
from prerank.evaluation.fusion import FusionWeights
from prerank.evaluation.measures import SplitMeasures, split_rows
from prerank.training.contracts import Predictions
from prerank.training.scoring import prediction_table


def objective_parts(
    encoded: EncodedLog,
    predictions: Predictions,
    weights: FusionWeights,
    settings: EvaluationConfig,
    objective: Sequence[str],
) -> dict[str, float]:
    """The figures of ``objective``, as ``metrics.json`` would have them for validation and all rows.

    Args:
        encoded: the log; of its splits, only validation is read.
        predictions: of the validation rows.
        weights: of the fused score.
        settings: ``recall_at`` is what counts.
        objective: names of figures that :func:`check_objective` has found to be defined.

    Raises:
        InputError: if the score is not finite: the fit has diverged.
    """
    statistics = _statistics(encoded, predictions, weights, settings)
    parts = {}
    for name in objective:
        statistic = statistics[name]
        assert not isinstance(statistic, Undefined)
        parts[name] = statistic.value
    return parts


def check_objective(encoded: EncodedLog, settings: EvaluationConfig, objective: Sequence[str]) -> None:
    """Refuse an objective that the validation rows cannot tell, before anything is fitted.

    Raises:
        InputError: naming the figures that they can.
    """
    rows = encoded.split("validation").rows
    nothing = Predictions(click=np.zeros(rows, np.float32), order=None, rank=None)
    statistics = _statistics(encoded, nothing, FusionWeights(1.0, 0.0, 0.0, None, ()), settings)
    defined = [
        name
        for name, statistic in statistics.items()
        if not isinstance(statistic, Undefined) and not name.endswith("_chance")
    ]
    if not objective or len(set(objective)) < len(objective):
        raise InputError(f"tune.objective must list different figures, found {list(objective)}; {_there_are(defined)}")
    for name in objective:
        if name not in defined:
            raise InputError(f"tune.objective: {name} {_why_not(name, statistics)}; {_there_are(defined)}")


def _statistics(
    encoded: EncodedLog, predictions: Predictions, weights: FusionWeights, settings: EvaluationConfig
) -> dict[str, Statistic]:
    """The evaluation's own statistics, without the heads: not every system has each of them, but all have a score."""
    table = prediction_table(encoded.split("validation"), "validation", predictions, weights)
    rows = split_rows(_without_heads(table))
    tasks = encoded.schema.tasks
    tasks_off = {name: str(task["reason"]) for name, task in tasks.items() if not task["available"]}
    measures = SplitMeasures(rows, tasks_off, encoded.schema.cutoffs, settings.recall_at)
    return measures.statistics(np.ones(len(table), dtype=np.bool_))


def _without_heads(table: pa.Table) -> pa.Table:
    return table.drop_columns([name for name in table.column_names if name.startswith("p_")])


def _why_not(name: str, statistics: Mapping[str, Statistic]) -> str:
    if name.endswith("_chance"):
        return "is the same for every system"
    if name.startswith(("auc_", "log_loss_")):
        return "is a figure of one head, and not every system has it"
    statistic = statistics.get(name)
    if isinstance(statistic, Undefined):
        return f"cannot be told from the validation rows: {statistic.reason}"
    return "is no figure of the validation rows (the k of Recall@k and of hit rates are evaluation.recall_at)"


def _there_are(defined: Sequence[str]) -> str:
    return f"there are: {', '.join(defined) or 'none'}"
