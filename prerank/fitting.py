"""``python -m prerank.fit``: fit a pre-ranking system on a run's log, graph and ψ, then evaluate it.

Encode the log's columns → train with validation within the epoch → choose the fusion weights on validation → predict
validation and test → metrics with intervals, φ of every item, and the long-tail dashboard.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytorch_lightning as lightning

from configs.command import Invocation, config_from
from configs.console import say
from configs.errors import InputError
from configs.keys import Keys
from configs.layers import group_names
from configs.locks import alone
from configs.options import within
from configs.origin import origin_input, origin_of
from configs.schema import Config, ModelConfig
from configs.stages import (
    MANIFEST,
    Run,
    Stage,
    identity_of,
    read_json,
    replacing_together,
    require_current,
    require_inputs,
    require_settings,
)
from graph.logs.log import SearchLog
from graph.logs.prepare import log_keys
from prerank import systems
from prerank.dashboard.page import write_dashboard
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_log
from prerank.encoding.places import ENCODING, encoding_of
from prerank.evaluation.evaluation import PROGRESSIVE, Evaluation, measured_with
from prerank.evaluation.fusion import RULE, FusionWeights
from prerank.evaluation.measuring import EvaluationContext, evaluate_predictions, evaluation_context
from prerank.training.contracts import FittedSystem, Predictions, Work
from prerank.training.progressive import as_yesterday, new_rows
from prerank.training.scoring import choose_fusion, prediction_table, write_fusion, write_predictions
from pretrain.embeddings import EmbeddingTable

PLAIN_NAME = re.compile(r"\w[\w.-]*")
FIGURE_KEYS = Keys(("evaluation", *(f"model.item.{key}" for key in ("use_hash_id", "hash_vocabulary", "hashing"))))
"""What figures are made with besides a fitted system; they are measured anew where it has changed."""


def fit_system(invocation: Invocation) -> Path:
    """Fit and evaluate ``config.model`` on ``config.run``, under ``config.name`` if it has one.

    Returns:
        The system's folder.

    Raises:
        InputError: if the run has no log or ψ, or belongs to other data, or if another system has the name.

    Examples:
        >>> from configs import parse
        >>> from prerank import fit_system
        >>> quick = ["run=notebook", "prerank.max_epochs=1", "evaluation.draws=50"]
        >>> [fit_system(parse([*quick, f"model={name}"])).as_posix() for name in ("ple", "grace")]
        ['runs/notebook/prerank/ple', 'runs/notebook/prerank/grace']
    """
    config, run, name = invocation.config, invocation.run, invocation.config.system
    require_name(name)
    refuse_unread(invocation)
    require_continues(config, run)
    log = open_log(invocation)
    encoded = encode_log(invocation, log)
    work = open_work(config, run, encoded)
    stage = system_stage(config, run, work)
    with alone(stage.home):
        _fit_and_measure(invocation, work, stage)
    return stage.home


def _fit_and_measure(invocation: Invocation, work: Work, stage: Stage) -> None:
    """Fit, unless this very system is finished; measure, unless its figures are those asked for."""
    config, run, name = invocation.config, invocation.run, invocation.config.system
    if stage.finished:
        say(f"{name} is fitted already: {stage.home}")
        if measured_with(stage.home) != figures_made_with(config, run):
            say("its figures are missing or were made with other settings: measuring again, without training")
            measure(invocation, work, systems.find(config.model).load(work))
            say(f"long-tail dashboard: {write_dashboard(run)}")
        return
    stage.start()
    work = replace(work, folder=stage.folder)
    invocation.save(work.folder / "config.yaml")
    origin = origin_of(config)
    if origin is not None:
        measure_before(config, origin, work)
        work = replace(work, start=origin.system(name))
    started = time.monotonic()
    system = train(work)
    seconds = time.monotonic() - started
    say(f"{name}: {system.parameters:,} parameters, fitted in {seconds:.0f} s")
    measure(invocation, work, system)
    stage.finish(parameters=system.parameters, fit_seconds=round(seconds, 1))
    say(f"figures: {stage.home / 'metrics.json'}")
    say(f"long-tail dashboard: {write_dashboard(run)}")


def fit_command(config: Config) -> str:
    """The command that fits the configuration's system, under its own name if it has one."""
    named = f" name={config.name}" if config.name else ""
    return f"python -m prerank.fit run={config.run} model={config.model.name}{named}"


def require_continues(config: Config, run: Run) -> None:
    """Refuse to go on from another run with a system that cannot, or with other keys than it has there.

    Raises:
        InputError: if so; also if the system is not fitted there.
    """
    origin = origin_of(config)
    if origin is None or (run.system(config.system) / MANIFEST).exists():
        return
    model = config.model.name
    if not getattr(systems.find(config.model), "CONTINUES", False):
        raise InputError(
            f"model={model} cannot go on from {origin.root.name}: it would be fitted to the new rows alone; fit it on "
            "a run of its own that holds all days"
        )
    home = origin.system(config.system)
    named = f" name={config.name}" if config.name else ""
    identity_of(home, f"python -m prerank.fit run={origin.root.name} model={model}{named}")
    of_shape = {
        key: value
        for key, value in system_keys(config.model).settings(config).items()
        if not within(key, ("prerank", "seed"))
    }
    require_settings(home, of_shape, "a system that goes on has the keys that it was first fitted with: leave them out")


def measure_before(config: Config, origin: Run, work: Work) -> None:
    """Measure yesterday's system on all new rows, before any is trained on: ``progressive/`` in the system's folder.

    Raises:
        InputError: if yesterday's system was fitted on columns or a ψ that have changed since.
    """
    folder = work.folder / PROGRESSIVE
    if (folder / "evaluation.json").exists():
        return
    home = origin.system(config.system)
    fitted = config_from(home / "config.yaml")
    before = open_work(fitted, origin, EncodedLog.open(encoding_of(origin, config.system)))
    refit = f"run `{fit_command(fitted)} overwrite=true`"
    require_inputs(home, system_stage(fitted, origin, before).inputs, refit)
    system = systems.find(fitted.model).load(before)
    weights = FusionWeights(**{**read_json(home / "fusion.json"), "chosen_by": ()})
    today = as_yesterday(work.encoded, before.encoded)
    since = read_json(Run(Path(config.runs_folder) / config.run).logs / "log.json")["since"]
    table = new_rows(today, since["last"], system, weights)
    say(f"{origin.root.name}'s {config.system} on the {len(table):,} new rows, none of which it was trained on:")
    evaluation = evaluate_predictions(table, context_of(config, origin, today, before.encoded))
    evaluation.protocol["from"] = origin.root.name
    evaluation.write(folder)


def require_name(name: str) -> None:
    """Refuse a name that cannot be a system's folder.

    Raises:
        InputError: if it is taken, or no plain name of a folder.
    """
    if ENCODING.fullmatch(name) or not PLAIN_NAME.fullmatch(name):
        raise InputError(
            f"name={name}: expected letters, digits, -, _ and dots, not with a dot first, and not 'encoded' (-...), "
            "which the run's encoded columns have: give name=NAME"
        )


def open_log(invocation: Invocation) -> SearchLog:
    """The run's checked log.

    Raises:
        InputError: if there is none, or if the command names other data than the run holds.
    """
    config, run = invocation.config, invocation.run
    identity_of(run.logs, f"python -m pretrain.run run={config.run}")
    asked = log_keys(config).settings(config)
    require_settings(
        run.logs,
        {key: value for key, value in asked.items() if key != "seed"},  # of training it may be another
        "leave data keys out, or make another run with `python -m pretrain.run run=NAME`",
    )
    return SearchLog.open(run.logs)


def open_work(config: Config, run: Run, encoded: EncodedLog) -> Work:
    """What the system is fitted from: the keys that it reads, and ψ, checked against the catalogue, if it needs it.

    Raises:
        InputError: if ψ or the encoded columns were made from another log or graph than the run holds now.
    """
    psi = None
    require_current(run, [(encoded.folder, f"python -m prerank.fit run={run.root.name}")])
    if systems.find(config.model).NEEDS_PSI:
        require_current(run, [(run.pretrain, f"python -m pretrain.run run={run.root.name}")])
        psi = EmbeddingTable.load(run.psi)
        psi.require_catalogue(encoded.schema.catalogue)
    keys = system_keys(config.model)
    return Work(config=keys.view(config), encoded=encoded, psi=psi, folder=run.system(config.system))


def system_keys(model: ModelConfig) -> Keys:
    """What a model's system reads of the configuration: what it says, and what every system is fitted with."""
    system = systems.find(model)
    read = ("model.name", "model.system", "seed", *system.KEYS)
    if system.NEEDS_PSI:  # which says how long φ is
        read = tuple(key for key in read if key != "pretrain.dimension")
    return Keys(read, ("prerank.threads", "prerank.logger"))


def system_stage(config: Config, run: Run, work: Work) -> Stage:
    """The stage of a fitted system: what it depends on. Evaluation can be made anew without it (:func:`fit_system`)."""
    inputs = {"encoded": work.encoded.identity, **systems.own_source(config.model)}
    if work.psi is not None:
        inputs["pretrain"] = identity_of(run.pretrain, f"python -m pretrain.run run={config.run}")
    made_by = f"python -m prerank.fit model={config.model.name}"
    inputs |= origin_input(config, run.system(config.system), lambda each: each.system(config.system), made_by)
    settings = system_keys(config.model).settings(work.config)
    return Stage(work.folder, settings, inputs, overwrite=config.overwrite, keep=f"give name={config.system}_b")


def train(work: Work) -> FittedSystem:
    """Train the configured system from its seed; its files go to the folder of ``work``."""
    lightning.seed_everything(work.config.seed, verbose=False)
    return systems.find(work.config.model).fit(work)


def measure(invocation: Invocation, work: Work, system: FittedSystem) -> None:
    """Predict and evaluate; the figures, φ and ``config.yaml`` replace older ones once all are there."""
    with replacing_together(work.folder, last="evaluation.json") as fresh:
        predict_and_evaluate(invocation.config, invocation.run, work, system, fresh).write(fresh)
        invocation.save(fresh / "config.yaml")


def predict_validation(work: Work, system: FittedSystem) -> tuple[Predictions, FusionWeights]:
    """The logits of the validation rows, and the fusion weights that they choose."""
    predictions = system.predict(work.encoded.split("validation"))
    return predictions, choose_fusion(work.encoded, predictions)


def predict_and_evaluate(config: Config, run: Run, work: Work, system: FittedSystem, folder: Path) -> Evaluation:
    """Predict validation and test with fusion weights from validation, write them and φ to ``folder``, and measure."""
    splits = {name: work.encoded.split(name) for name in ("validation", "test")}
    validation, weights = predict_validation(work, system)
    predictions = {"validation": validation, "test": system.predict(splits["test"])}
    say(f"ranking score: {weights.click:g}·click + {weights.order:g}·order + {weights.rank:g}·rank, in logits")
    write_fusion(weights, folder)
    tables = [prediction_table(split, name, predictions[name], weights) for name, split in splits.items()]
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    write_predictions(table, folder)
    vectors = system.item_vectors(work.encoded)
    if vectors is not None:
        phi = EmbeddingTable(work.encoded.item_ids, vectors, work.encoded.schema.catalogue, "phi")
        phi.save(folder / "phi")
    return evaluate_predictions(table, context_of(config, run, work.encoded))


def context_of(config: Config, run: Run, encoded: EncodedLog, trained: EncodedLog | None = None) -> EvaluationContext:
    """What evaluation needs besides predictions; ``trained`` is the run's own log where ``encoded`` is a new one."""
    view = FIGURE_KEYS.view(config)
    in_p = EmbeddingTable.load(run.psi).rows_of(encoded.item_ids) >= 0 if run.psi.exists() else None
    context = evaluation_context(encoded, view.evaluation, in_p, view.model.item, trained)
    return replace(context, made_with=figures_made_with(config, run))


def figures_made_with(config: Config, run: Run) -> dict[str, Any]:
    """What figures depend on besides the fitted system and the log; ψ says which items are in P."""
    psi = run.pretrain / MANIFEST
    return {**FIGURE_KEYS.settings(config), "fusion": RULE, "psi": read_json(psi)["identity"] if psi.exists() else None}


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
