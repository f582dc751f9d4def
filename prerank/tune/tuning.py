"""``python -m prerank.tune``: search the few hyper-parameters of a system on the validation split.

The same number of trials for every system, of which the first is what is configured, so that tuning is never worse than
not tuning there. Each trial is fitted as ``python -m prerank.fit`` does and judged by the same figures of the fused
score. The test split is neither predicted nor measured. An interrupted search goes on where it stopped.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from configs.command import Invocation
from configs.console import say
from configs.errors import InputError
from configs.locks import alone
from configs.origin import require_own_start
from configs.schema import Config
from configs.stages import Run, fingerprint
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_log
from prerank.experiment.jobs import asked_arguments, read_by
from prerank.experiment.progress import cores
from prerank.fitting import open_log, open_work, refuse_unread, system_stage
from prerank.tune.objective import check_objective
from prerank.tune.progress import TuningProgress
from prerank.tune.report import print_report
from prerank.tune.search import HyperparameterSearch, Trial, TrialRecords
from prerank.tune.space import SPACES, Space, configured, leaves, read_space

HANDED_ON = ("data.features", "data.cutoffs", "model.", "prerank.", "evaluation.", "runs_folder", "seed")
"""Keys of this command line that the fit with the best values needs too."""


@dataclass(frozen=True)
class TuningResult:
    """The result of a search.

    Attributes:
        folder: ``runs/<run>/tune/<system>``, with ``tune.json`` and ``tune.md``.
        best_file: ``best.yaml`` there, for ``--config``: the tuned keys and nothing else.
        trials: all, by number; ``values``, ``objective``, and ``outcome.parts`` of each.
        best: the one with the highest objective.
    """

    folder: Path
    best_file: Path
    trials: tuple[Trial, ...]
    best: Trial


def tune_system(invocation: Invocation) -> TuningResult:
    """Make the trials of ``config.model`` on ``config.run`` that are missing, and report on all.

    Raises:
        InputError: if the run, the space or the objective cannot be used, or if every trial failed.

    Examples:
        >>> from configs import parse
        >>> from prerank import tune_system
        >>> result = tune_system(parse(["run=notebook", "model=popularity"]))
        >>> len(result.trials)  # popularity has no key to tune
        1
    """
    config, run, name = invocation.config, invocation.run, invocation.config.model.name
    refuse_unread(invocation)
    require_own_start(config)
    space = read_space(SPACES if config.tune.space is None else Path(config.tune.space).expanduser(), name)
    defaults = configured(config, space)
    encoded = encode_log(invocation, open_log(invocation))
    check_objective(encoded, config.evaluation, config.tune.objective)
    folder = run.root / "tune" / name
    with alone(folder):
        invocation.save(folder / "config.yaml")
        # One trial is all that a system without keys can have: the others would be the same.
        trials = config.tune.trials if space else 1
        records = TrialRecords(folder / "trials", search_identity(config, run, encoded, space))
        search = HyperparameterSearch(space, defaults, config.seed, records.read(), trials)
        progress = TuningProgress(
            config, run, encoded, folder, search, records, min(config.tune.workers or cores(), trials)
        )
        progress.announce(space)
        try:
            progress.make_trials()
        finally:  # an interrupted search has a report too
            report = progress.report(space)
    if report.best is None:
        raise InputError(
            f"model={name}: all {len(report.trials)} trials failed, the first with: {report.trials[0].outcome.reason}; "
            f"what they printed is in {progress.output}; delete {records.folder} to try again"
        )
    print_report(report)
    say(f"all trials: {folder / 'tune.md'}")
    say(f"next: {next_command(invocation, space, folder / 'best.yaml')}")
    return TuningResult(folder, folder / "best.yaml", report.trials, report.best)


def search_identity(config: Config, run: Run, encoded: EncodedLog, space: Space) -> str:
    """What trials depend on besides their number: trials of another search say nothing about this one.

    The number of trials is no part of it, so that a search can be prolonged, nor is that of threads.
    """
    return fingerprint(
        {
            "inputs": system_stage(config, run, open_work(config, run, encoded)).inputs,
            "dimension": config.pretrain.dimension,
            "system": config.model.name,
            "configured": dict(leaves(config)),
            "seed": config.seed,
            "space": {key: asdict(searched) for key, searched in space.items()},
            "objective": list(config.tune.objective),
        }
    )


def next_command(invocation: Invocation, searched: Collection[str], best: Path) -> str:
    """The command that fits the system with the best values, and evaluates it on test."""
    config = invocation.config
    keys = sorted(invocation.asked - set(searched) - {"model.name"})
    handed_on = asked_arguments(invocation, [key for key in keys if key.startswith(HANDED_ON)])
    model = config.model.name
    # Under a name of its own: the untuned one may be fitted in the run already.
    fit = ["python", "-m", "prerank.fit", f"run={config.run}", f"model={model}", f"name={model}_tuned"]
    return shlex.join([*fit, "--config", str(best), *read_by(model, handed_on)])
