"""``python -m prerank.evaluate``: measure a fitted system again, on the run's own log or on a new one.

Without other data it predicts the run's validation and test rows anew, with today's ``evaluation`` settings.
With ``data=... data.path=...`` it checks and encodes that log with the run's own statistics; every row of it is test
data.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from configs.command import Request, config_from, main, run_config, settings
from configs.console import say
from configs.errors import InputError
from configs.schema import Config
from configs.stages import Run, fingerprint, identity_of, read_json
from graph.logs.prepare import check_new_log
from prerank import systems
from prerank.batches import EncodedLog
from prerank.dashboard import write_dashboard
from prerank.evaluation import EvaluationContext, evaluate_predictions
from prerank.features import encode_new_log
from prerank.fit import context_of, hash_buckets, open_work, predict_and_evaluate
from prerank.fusion import FusionWeights
from prerank.scoring import prediction_table
from prerank.segments import SegmentSources, bucket_loads
from pretrain.embeddings import EmbeddingTable

PURPOSE = "Evaluate a fitted system on its run's log, or with data=... data.path=... on a new log."


def evaluate(request: Request) -> Path:
    """Measure ``config.model`` of ``config.run``.

    Returns:
        The ``metrics.json`` written.

    Raises:
        InputError: if the system is not fitted, or the model keys given are not those that it was fitted with.
    """
    config, run, name = request.config, request.run, request.config.model.name
    identity_of(run.system(name), f"python -m prerank.fit run={config.run} model={name}")
    fitted = _fitted_config(request)
    encoded = EncodedLog.open(run.encoded)
    work = open_work(fitted, run, encoded)
    system = systems.find(name).load(work)
    if settings(config.data) == settings(run_config(run).data):
        evaluation = predict_and_evaluate(_with_evaluation(fitted, config), run, work, system)
        evaluation.write(run.system(name))
        say(f"long-tail dashboard: {write_dashboard(run)}")
        return run.system(name) / "metrics.json"
    folder = run.system(name) / "evaluations" / f"{config.data.name}-{fingerprint(settings(config.data))}"
    log = check_new_log(config.data, folder / "logs")
    new = encode_new_log(encoded, log, folder / "encoded")
    weights = FusionWeights(**{**read_json(run.system(name) / "fusion.json"), "chosen_by": ()})
    split = new.split("test")
    table = prediction_table(split, "test", system.predict(split), weights)
    context = _context_of_new(context_of(_with_evaluation(fitted, config), run, encoded), new, run, fitted)
    evaluate_predictions(table, context).write(folder)
    return folder / "metrics.json"


def _context_of_new(context: EvaluationContext, new: EncodedLog, run: Run, fitted: Config) -> EvaluationContext:
    """The run's own context, with the segments of the new log's catalogue and the tasks that the new log can tell."""
    buckets = hash_buckets(fitted)
    in_p = EmbeddingTable.load(run.psi).rows_of(new.item_ids) >= 0 if run.psi.exists() else None
    sources = SegmentSources(
        training_impressions=new.training_counts.impressions,
        in_p=in_p,
        bucket_load=None if buckets is None else bucket_loads(new.items.item_hash % buckets),
        training_queries=context.sources.training_queries,
    )
    tasks = new.schema.tasks
    tasks_off = {name: str(task["reason"]) for name, task in tasks.items() if not task["available"]}
    return replace(context, sources=sources, cutoffs=new.schema.cutoffs, tasks_off=tasks_off)


def _fitted_config(request: Request) -> Config:
    """The configuration that the system was fitted with; a differing model key on the command line is refused."""
    config, run = request.config, request.run
    fitted = config_from(run.system(config.model.name) / "config.yaml")
    for text in request.overrides:
        key = text.split("=", 1)[0]
        if key.startswith("model.") and settings(config.model) != settings(fitted.model):
            raise InputError(
                f"{key}: {run.system(config.model.name)} was fitted with another model configuration; "
                f"leave model keys out, or fit again with `python -m prerank.fit run={config.run} {text}`"
            )
    return fitted


def _with_evaluation(fitted: Config, asked: Config) -> Config:
    fitted.evaluation = asked.evaluation
    return fitted


def _body(request: Request) -> None:
    say(f"figures: {evaluate(request)}")


if __name__ == "__main__":
    sys.exit(main(_body, PURPOSE))
