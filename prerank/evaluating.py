"""``python -m prerank.evaluate``: measure a fitted system again, on the run's own log or on a new one.

Without other data it predicts the run's validation and test rows anew, with today's ``evaluation`` settings.
With ``data=... data.path=...`` it checks and encodes that log with the run's own statistics; every row of it is test
data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.command import Invocation, config_from, run_config, settings
from configs.console import say
from configs.errors import InputError
from configs.schema import Config, DataConfig, ModelConfig
from configs.stages import fingerprint, identity_of, read_json, require_inputs
from graph.logs.prepare import check_new_log
from prerank import systems
from prerank.dashboard.page import write_dashboard
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_new_log
from prerank.evaluation.fusion import FusionWeights
from prerank.evaluation.measuring import evaluate_predictions
from prerank.fitting import context_of, open_work, predict_and_evaluate, system_stage
from prerank.training.scoring import prediction_table


def evaluate_system(invocation: Invocation) -> Path:
    """Measure ``config.model`` of ``config.run``.

    Returns:
        The ``metrics.json`` written.

    Raises:
        InputError: if the system is not fitted, or was fitted on columns or a ψ that have changed since, or if a model
            or data key asked for is not what it was fitted with.

    Examples:
        >>> from configs import parse
        >>> from prerank import evaluate_system
        >>> asked = ["run=notebook", "evaluation.draws=100"]
        >>> [evaluate_system(parse([*asked, f"model={name}"])).as_posix() for name in ("ple", "grace")]
        ['runs/notebook/prerank/ple/metrics.json', 'runs/notebook/prerank/grace/metrics.json']
    """
    config, run, name = invocation.config, invocation.run, invocation.config.model.name
    refit = f"python -m prerank.fit run={config.run} model={name}"
    identity_of(run.system(name), refit)
    fitted = _fitted_config(invocation)
    encoded = EncodedLog.open(run.encoded)
    work = open_work(fitted, run, encoded)
    require_inputs(run.system(name), system_stage(fitted, run, work).inputs, refit)
    system = systems.find(fitted.model).load(work)
    if _is_own_log(invocation, fitted):
        evaluation = predict_and_evaluate(_with_evaluation(fitted, config), run, work, system)
        evaluation.write(run.system(name))
        say(f"figures: {run.system(name) / 'metrics.json'}")
        say(f"long-tail dashboard: {write_dashboard(run)}")
        return run.system(name) / "metrics.json"
    folder = run.system(name) / "evaluations" / f"{config.data.name}-{fingerprint(settings(config.data))}"
    log = check_new_log(config.data, folder / "logs")
    new = encode_new_log(encoded, log, folder / "encoded")
    weights = FusionWeights(**{**read_json(run.system(name) / "fusion.json"), "chosen_by": ()})
    split = new.split("test")
    table = prediction_table(split, "test", system.predict(split), weights)
    evaluate_predictions(table, context_of(_with_evaluation(fitted, config), run, new, encoded)).write(folder)
    say(f"figures: {folder / 'metrics.json'}")
    return folder / "metrics.json"


def _fitted_config(invocation: Invocation) -> Config:
    """The configuration that the system was fitted with; a differing model key that is asked for is refused."""
    config, run = invocation.config, invocation.run
    fitted = config_from(run.system(config.model.name) / "config.yaml")
    for key in _differing("model", invocation.asked, config.model, fitted.model):
        raise InputError(
            f"{key}: {run.system(config.model.name)} was fitted with another model configuration; leave model keys "
            f"and experiments out, or fit again with `python -m prerank.fit run={config.run} model={config.model.name}`"
        )
    return fitted


def _is_own_log(invocation: Invocation, fitted: Config) -> bool:
    """Whether the data are the run's own; then every row has its split, and keys that would change that are refused."""
    asked, held = invocation.config.data, run_config(invocation.run).data
    if (asked.name, asked.world, _place(asked)) != (held.name, held.world, _place(held)):
        return False
    for key in _differing("data", invocation.asked, asked, fitted.data):
        if key != "data.path":
            raise InputError(
                f"{key}: the run's own log was split and encoded with another value; leave it out, or make another run "
                "with `python -m pretrain.run`"
            )
    return True


def _place(data: DataConfig) -> Path | None:
    return None if data.path is None else Path(data.path).expanduser().resolve()


def _differing(section: str, asked: frozenset[str], ours: ModelConfig | DataConfig, theirs: object) -> list[str]:
    """The keys of a section that were asked for with another value than the other configuration has."""
    values = [dict(_flat(settings(each), section)) for each in (ours, theirs)]
    return [key for key in sorted(asked) if values[0].get(key) != values[1].get(key)]


def _flat(content: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _flat(value, f"{key}.{name}")
    else:
        yield key, content


def _with_evaluation(fitted: Config, asked: Config) -> Config:
    fitted.evaluation = asked.evaluation
    return fitted
