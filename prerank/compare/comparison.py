"""``python -m prerank.compare``: systems side by side, on several seeds and data, with how sure each difference is.

Every system of ``compare.systems`` is fitted with every seed in ``runs/<run>/compare/<data>/seed-<seed>``, several
at a time; finished fits are not repeated and an interrupted one resumes. The result is ``comparison.json``,
``comparison.md`` and ``reports/comparison.html``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.command import Invocation
from configs.console import say, table, warn
from configs.locks import alone
from configs.origin import require_own_start
from configs.stages import read_json
from prerank.compare.cost import measure_missing
from prerank.compare.jobs import Comparison, DataSet, passed_over, plan_comparison
from prerank.compare.report import report_content, write_report
from prerank.experiment.jobs import Fit
from prerank.experiment.progress import ExperimentProgress, cores


@dataclass(frozen=True)
class ComparisonResult:
    """What a comparison came to.

    Attributes:
        content: everything, as in ``comparison.json``.
        files: ``comparison.json``, ``comparison.md`` and ``comparison.html``.
    """

    content: dict[str, Any]
    files: tuple[Path, ...]


def compare_systems(invocation: Invocation) -> ComparisonResult:
    """Fit what is missing, measure what scoring costs, and report on all.

    Args:
        invocation: the ``compare`` section says what; keys of data, graph, model, prerank and evaluation go to
            every fit.

    Raises:
        InputError: if the plan or the command cannot be used, or if fits failed; the report then has the others.

    Examples:
        >>> from configs import parse
        >>> from prerank import compare_systems
        >>> asked = ["compare.systems=[popularity,lightgbm]", "compare.baseline=popularity", "compare.seeds=1"]
        >>> quick = ["data.world=tiny", "pretrain.max_epochs=1", "model.lightgbm.trees=5", "evaluation.draws=50"]
        >>> result = compare_systems(parse(["run=comparison", *asked, *quick]))
        >>> [file.name for file in result.files]
        ['comparison.json', 'comparison.md', 'comparison.html']
    """
    config = invocation.config
    require_own_start(config)
    folder = invocation.run.root / "compare"
    comparison = plan_comparison(invocation, folder)
    for system in config.compare.systems:
        if keys := passed_over(system, invocation):
            say(f"{system} does not read {', '.join(keys)}: it is fitted without")

    def report() -> ComparisonResult:
        files = write_report(report_content(comparison, config, progress.finished, progress.failed), invocation.run)
        print_seeds(comparison, progress.finished)
        return ComparisonResult(read_json(files[0]), tuple(files))

    with alone(folder):
        invocation.save(folder / "config.yaml")
        progress = ExperimentProgress(folder, comparison.jobs, config.compare.workers or cores(), report)
        progress.announce(f"on {len(comparison.data)} data sets")
        try:
            progress.make_fits()
            measure_missing(first_fits(comparison, progress.finished))
        finally:  # an interrupted command has a report too
            result = report()
    print_verdicts(result.content)
    say(", ".join(str(file) for file in result.files))
    progress.require_success()
    return result


def first_fits(comparison: Comparison, finished: set[Fit]) -> list[Fit]:
    """Of each system on each data set, the finished fit of the first seed."""
    by_seed = [fits for data in comparison.data for fits in data.fits.values()]
    in_order = [[fit for _, fit in sorted(fits.items()) if fit in finished] for fits in by_seed]
    return [fits[0] for fits in in_order if fits]


def print_seeds(comparison: Comparison, finished: set[Fit]) -> None:
    """How many seeds of each system are finished on each data set."""
    rows = [[system, *(_seeds(data, system, finished) for data in comparison.data)] for system in comparison.tuned]
    titles = [f"{data.title} (simulated)" if data.market else data.title for data in comparison.data]
    table("seeds finished", ["system", *titles], rows)


def print_verdicts(content: dict[str, Any]) -> None:
    """Words first, then what to beware of."""
    for data in content["data"]:
        for sentence in data["verdict"]:
            say(sentence)
    for warning in content["warnings"]:
        warn(warning)


def _seeds(data: DataSet, system: str, finished: set[Fit]) -> str:
    fits = data.fits[system].values()
    return f"{sum(fit in finished for fit in fits)}/{len(fits)}"
