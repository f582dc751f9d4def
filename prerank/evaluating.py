"""``python -m prerank.evaluate``: measure a fitted system again, on the run's own log or on a new one.

Without other data it predicts the run's validation and test rows anew, with today's ``evaluation`` settings.
With ``data=... data.path=...`` it checks and encodes that log with the run's own statistics; every row of it is test
data.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from configs.command import Invocation, config_from, run_config, settings
from configs.commands import COMMANDS
from configs.console import say
from configs.keys import Keys
from configs.layers import resolved
from configs.locks import alone
from configs.schema import Config, DataConfig
from configs.stages import fingerprint, identity_of, read_json, require_inputs, require_settings
from graph.logs.prepare import check_new_log
from prerank import systems
from prerank.dashboard.page import write_dashboard
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_new_log
from prerank.encoding.places import encoding_of
from prerank.encoding.unseen import tell_unseen
from prerank.evaluation.fusion import FusionWeights
from prerank.evaluation.measuring import evaluate_predictions
from prerank.fitting import context_of, fit_command, measure, open_work, system_keys, system_stage
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
    config, run = invocation.config, invocation.run
    home = run.system(config.system)
    refit = fit_command(config)
    identity_of(home, refit)
    fitted = _fitted_config(invocation)
    encoded = EncodedLog.open(encoding_of(run, config.system))
    work = open_work(fitted, run, encoded)
    require_inputs(home, system_stage(fitted, run, work).inputs, f"run `{refit} overwrite=true`")
    system = systems.find(fitted.model).load(work)
    measured = replace(fitted, evaluation=config.evaluation)
    if _is_own_log(invocation):
        fit = COMMANDS["prerank.fit"]  # whose configuration the folder holds
        with alone(home):
            measure(replace(invocation, config=measured, command=fit), work, system)
        say(f"figures: {home / 'metrics.json'}")
        say(f"long-tail dashboard: {write_dashboard(run)}")
        return home / "metrics.json"
    folder = home / "evaluations" / f"{config.data.name}-{fingerprint(settings(config.data))}"
    with alone(folder):
        log = check_new_log(config.data, folder / "logs")
        new = encode_new_log(encoded, log, folder / "encoded", run.logs)
        weights = FusionWeights(**{**read_json(home / "fusion.json"), "chosen_by": ()})
        split = new.split("test")
        tell_unseen(encoded, split, folder / "unseen.json")
        table = prediction_table(split, "test", system.predict(split), weights)
        evaluate_predictions(table, context_of(measured, run, new, encoded)).write(folder)
    say(f"figures: {folder / 'metrics.json'}")
    return folder / "metrics.json"


def _fitted_config(invocation: Invocation) -> Config:
    """The configuration that the system was fitted with; another value of a key that it read is refused."""
    config, home = invocation.config, invocation.run.system(invocation.config.system)
    fitted = config_from(home / "config.yaml")
    # A name says which system is meant; the seed is of training, and nothing is trained here.
    named = (invocation.asked if config.name else invocation.asked | {"model.name"}) - {"seed"}
    settings = system_keys(fitted.model).settings(config)
    again = f"or fit again with `python -m prerank.fit run={config.run} model={config.model.name} name=NAME`"
    remedy = f"leave model and prerank keys and experiments out, {again}"
    require_settings(home, {key: value for key, value in settings.items() if key in named}, remedy)
    return fitted


def _is_own_log(invocation: Invocation) -> bool:
    """Whether the data are the run's own; then every row has its split, and keys that would change that are refused."""
    config, run = invocation.config, invocation.run
    asked, own = config.data, run_config(run).data
    if (asked.name, asked.world, asked.table, _place(asked)) != (own.name, own.world, own.table, _place(own)):
        return False
    settings = Keys(("data",)).settings(config)
    named = {key: value for key, value in settings.items() if key in invocation.asked and key != "data.path"}
    remedy = "leave data keys out, or make another run with `python -m pretrain.run run=NAME`"
    for stage in (run.logs, encoding_of(run, config.system)):
        require_settings(stage, named, remedy)
    return True


def _place(data: DataConfig) -> Path | None:
    return None if data.path is None else resolved(data.path)
