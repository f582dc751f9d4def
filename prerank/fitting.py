"""``python -m prerank.fit``: fit a pre-ranking system on a run's log, graph and ψ, then evaluate it.

Encode the log's columns → train with validation within the epoch → choose the fusion weights on validation → predict
validation and test → metrics with intervals, φ of every item, and the long-tail dashboard.
"""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pytorch_lightning as lightning

from configs.command import Invocation, run_config, settings
from configs.console import say
from configs.errors import InputError
from configs.layers import group_names
from configs.options import within
from configs.schema import Config
from configs.stages import Run, Stage, identity_of
from graph.logs.log import SearchLog
from prerank import systems
from prerank.dashboard.page import write_dashboard
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_log
from prerank.evaluation.evaluation import Evaluation, forget_figures, made_with, measured_with
from prerank.evaluation.fusion import FusionWeights
from prerank.evaluation.measuring import EvaluationContext, evaluate_predictions, evaluation_context
from prerank.training.contracts import FittedSystem, Predictions, Work
from prerank.training.scoring import choose_fusion, prediction_table, write_fusion, write_predictions
from pretrain.embeddings import EmbeddingTable


def fit_system(invocation: Invocation) -> Path:
    """Fit and evaluate ``config.model`` on ``config.run``.

    Returns:
        The system's folder.

    Raises:
        InputError: if the run has no log or ψ, or belongs to other data.

    Examples:
        >>> from configs import parse
        >>> from prerank import fit_system
        >>> quick = ["run=notebook", "prerank.max_epochs=1", "evaluation.draws=50"]
        >>> [fit_system(parse([*quick, f"model={name}"])).as_posix() for name in ("ple", "grace")]
        ['runs/notebook/prerank/ple', 'runs/notebook/prerank/grace']
    """
    config, run, name = invocation.config, invocation.run, invocation.config.model.name
    refuse_unread(invocation)
    log = open_log(invocation)
    encoded = encode_log(invocation, log)
    work = open_work(config, run, encoded)
    stage = system_stage(config, run, work)
    if stage.finished:
        say(f"{name} is fitted already: {run.system(name)}")
        if measured_with(run.system(name)) != made_with(config.evaluation):
            say("its figures are missing or were made with other settings: measuring again, without training")
            measure(config, run, work, systems.find(config.model).load(work))
            invocation.save(run.system(name) / "config.yaml")
            say(f"long-tail dashboard: {write_dashboard(run)}")
        return run.system(name)
    stage.start()
    invocation.save(run.system(name) / "config.yaml")
    started = time.monotonic()
    system = train(work)
    seconds = time.monotonic() - started
    say(f"{name}: {system.parameters:,} parameters, fitted in {seconds:.0f} s")
    measure(config, run, work, system)
    stage.finish(parameters=system.parameters, fit_seconds=round(seconds, 1))
    say(f"long-tail dashboard: {write_dashboard(run)}")
    return run.system(name)


def open_log(invocation: Invocation) -> SearchLog:
    """The run's checked log.

    Raises:
        InputError: if there is none, or if the command names other data than the run holds.
    """
    run, asked = invocation.run, invocation.config.data
    identity_of(run.logs, f"python -m pretrain.run run={invocation.config.run}")
    held = run_config(run).data
    for key in ("name", "path", "world", "split"):
        if getattr(held, key) != getattr(asked, key):
            raise InputError(
                f"run={invocation.config.run} holds data={held.name} with data.{key}={getattr(held, key)}, asked for "
                f"{getattr(asked, key)}: leave data keys out, or make another run with `python -m pretrain.run`"
            )
    return SearchLog.open(run.logs)


def open_work(config: Config, run: Run, encoded: EncodedLog) -> Work:
    """What the system is fitted from: with ψ, checked against the catalogue, if the system needs it."""
    name = config.model.name
    psi = None
    if systems.find(config.model).NEEDS_PSI:
        psi = EmbeddingTable.load(run.psi)
        psi.require_catalogue(encoded.schema.catalogue)
    return Work(config=config, encoded=encoded, psi=psi, folder=run.system(name))


def system_stage(config: Config, run: Run, work: Work) -> Stage:
    """The stage of a fitted system: what it depends on. Evaluation can be made anew without it (:func:`fit_system`)."""
    inputs = {"encoded": work.encoded.identity}
    if work.psi is not None:
        inputs["pretrain"] = identity_of(run.pretrain, f"python -m pretrain.run run={config.run}")
    parts = {
        "model": settings(config.model),
        "prerank": settings(config.prerank),
        "cutoffs": list(config.data.cutoffs),
        "seed": config.seed,
    }
    return Stage(work.folder, parts, inputs)


def train(work: Work) -> FittedSystem:
    """Train the configured system from its seed; its files go to the folder of ``work``."""
    lightning.seed_everything(work.config.seed, verbose=False)
    return systems.find(work.config.model).fit(work)


def measure(config: Config, run: Run, work: Work, system: FittedSystem) -> None:
    """Predict, evaluate and write the figures."""
    predict_and_evaluate(config, run, work, system).write(run.system(config.model.name))
    say(f"figures: {run.system(config.model.name) / 'metrics.json'}")


def predict_validation(work: Work, system: FittedSystem) -> tuple[Predictions, FusionWeights]:
    """The logits of the validation rows, and the fusion weights that they choose."""
    predictions = system.predict(work.encoded.split("validation"))
    return predictions, choose_fusion(work.encoded, predictions)


def predict_and_evaluate(config: Config, run: Run, work: Work, system: FittedSystem) -> Evaluation:
    """Predict validation and test with fusion weights from validation, write them and φ, and measure."""
    forget_figures(run.system(config.model.name))
    splits = {name: work.encoded.split(name) for name in ("validation", "test")}
    validation, weights = predict_validation(work, system)
    predictions = {"validation": validation, "test": system.predict(splits["test"])}
    say(f"ranking score: {weights.click:g}·click + {weights.order:g}·order + {weights.rank:g}·rank, in logits")
    write_fusion(weights, run, config.model)
    tables = [prediction_table(split, name, predictions[name], weights) for name, split in splits.items()]
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    write_predictions(table, run, config.model)
    vectors = system.item_vectors(work.encoded)
    if vectors is not None:
        phi = EmbeddingTable(work.encoded.item_ids, vectors, work.encoded.schema.catalogue, "phi")
        phi.save(work.folder / "phi")
    return evaluate_predictions(table, context_of(config, run, work.encoded))


def context_of(config: Config, run: Run, encoded: EncodedLog, trained: EncodedLog | None = None) -> EvaluationContext:
    """What evaluation needs besides predictions; ``trained`` is the run's own log where ``encoded`` is a new one."""
    in_p = EmbeddingTable.load(run.psi).rows_of(encoded.item_ids) >= 0 if run.psi.exists() else None
    return evaluation_context(encoded, config.evaluation, in_p, config.model.item, trained)


def refuse_unread(invocation: Invocation) -> None:
    """Refuse a key of ``model`` that the command was told and its system does not read.

    Keys of ``prerank`` are let pass, so that one command line fits networks and others with the same training.

    Raises:
        InputError: naming the systems that read it.
    """
    system = invocation.config.model.name
    read = ("model.name", *systems.named(system).KEYS)
    for key in sorted(invocation.overrides):
        if within(key, ("model",)) and not within(key, read):
            readers = [name for name in group_names("model") if within(key, systems.named(name).KEYS)]
            raise InputError(
                f"{key} is not read by model={system}, but by {', '.join(readers) or 'no system'}: leave it out"
            )
