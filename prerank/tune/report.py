"""What a search has found: ``tune.json``, ``tune.md``, and ``best.yaml`` for ``--config``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from configs.console import warn
from configs.errors import InputError
from configs.schema import Config
from configs.stages import replacing, write_json
from prerank.pages.markdown import document, heading, plain
from prerank.pages.numbers import number, signed
from prerank.pages.table import Table
from prerank.tune.search import Trial
from prerank.tune.space import Space, with_values


@dataclass(frozen=True)
class TuningReport:
    """A search, as far as it is.

    Attributes:
        run, system: what was tuned.
        identity: of the search.
        seed: of the search and of every training.
        objective: names of the figures whose plain mean was maximised.
        space: what was searched.
        asked: number of trials that the search has when it is finished.
        trials: those that are, by number.
        best: of them; None if all failed.
    """

    run: str
    system: str
    identity: str
    seed: int
    objective: tuple[str, ...]
    space: Space
    asked: int
    trials: tuple[Trial, ...]
    best: Trial | None

    @property
    def defaults(self) -> Trial | None:
        """Trial 0, where it is finished and did not fail."""
        return next((trial for trial in self.trials if trial.number == 0 and not trial.failed), None)

    @property
    def gain(self) -> float | None:
        """Objective of the best trial less that of what was configured, on the rows that chose the best: flattering."""
        if self.best is None or self.defaults is None:
            return None
        assert self.best.objective is not None
        assert self.defaults.objective is not None
        return self.best.objective - self.defaults.objective

    @property
    def edges(self) -> list[str]:
        """Keys whose best value lies at an edge of its range, beyond which the configuration would take more."""
        return [] if self.best is None else [key for key in self.space if self._at_edge(key, self.best.values[key])]

    def _at_edge(self, key: str, value: Any) -> bool:
        beyond = self.space[key].beyond(value)
        if beyond is None:
            return False
        try:
            with_values(Config(), {key: beyond})
        except InputError:
            return False
        return True


def write_report(result: TuningReport, folder: Path) -> None:
    """Write ``tune.json`` and ``tune.md``; with a best trial also ``best.yaml``, otherwise there is none afterwards."""
    write_json(folder / "tune.json", _facts(result))
    with replacing(folder / "tune.md") as temporary:
        temporary.write_text(_markdown(result), encoding="utf-8")
    if result.best is None:
        (folder / "best.yaml").unlink(missing_ok=True)
        return
    command = f"python -m prerank.fit model={result.system} --config"
    head = f"# Trial {result.best.number} of the search in tune.json: {command}\n"
    with replacing(folder / "best.yaml") as temporary:
        temporary.write_text(head + yaml.safe_dump(nested(result.best.values), sort_keys=False), encoding="utf-8")


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"model.rank.weight": 1}`` as ``{"model": {"rank": {"weight": 1}}}``."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return tree


def print_report(result: TuningReport) -> None:
    """The best trial beside what was configured, and what to be careful about."""
    best = _best_against_defaults(result)
    if best is None:
        return
    best.show()
    for sentence in _cautions(result):
        warn(sentence)


def _facts(result: TuningReport) -> dict[str, Any]:
    best = result.best
    return {
        "run": result.run,
        "system": result.system,
        "identity": result.identity,
        "split": "validation",
        "seed": result.seed,
        "objective": list(result.objective),
        "space": {key: asdict(searched) for key, searched in result.space.items()},
        "asked": result.asked,
        "finished": len(result.trials),
        "failed": sum(trial.failed for trial in result.trials),
        "defaults": None if result.defaults is None else result.defaults.facts,
        "best": None if best is None else best.facts,
        "gain": result.gain,
        "at_the_edge": result.edges,
        "trials": [trial.facts for trial in result.trials],
    }


def _markdown(result: TuningReport) -> str:
    mean = " and ".join(result.objective)
    best = _best_against_defaults(result)
    ranked = sorted(result.trials, key=lambda trial: (trial.failed, -(trial.objective or 0.0), trial.number))
    columns = ["trial", *result.space, *result.objective, "objective", "seconds", ""]
    return document(
        heading(1, f"model={result.system}, tuned on the validation split of run={result.run}"),
        f"{len(result.trials)} of {result.asked} trials, seed {result.seed}. Maximised: the mean of {mean}, of the "
        "fused score on validation. Trial 0 is what was configured. No row of the test split was predicted.",
        "No trial has succeeded." if best is None else best.as_markdown(),
        ""
        if best is None
        else "The difference is on the rows that chose the best trial, so it flatters; the test "
        "split says what is left.",
        *(f"**{plain(sentence)}**" for sentence in _cautions(result)),
        heading(2, "Trials, best first"),
        Table(columns, [_trial_row(result, trial) for trial in ranked]).as_markdown(),
    )


def _best_against_defaults(result: TuningReport) -> Table | None:
    """A row for each key and figure: what was configured, the best, the difference of the figures."""
    first, best = result.defaults, result.best
    if best is None:
        return None
    before = result.trials[0].values if result.trials[0].number == 0 else {}
    rows = [[key, _shown(before.get(key)), _shown(value), ""] for key, value in best.values.items()]
    for name in (*result.objective, "objective"):
        a, b = (None if trial is None else _figure(trial, name) for trial in (first, best))
        rows.append([name, number(a), number(b), signed(None if a is None or b is None else b - a)])
    title = f"{result.system}: {len(result.trials)} of {result.asked} trials, validation, seed {result.seed}"
    return Table(["", "configured", f"best (trial {best.number})", "difference"], rows, title)


def _cautions(result: TuningReport) -> list[str]:
    cautions = []
    for trial in result.trials:
        if trial.number == 0 and trial.failed:
            cautions.append(
                f"What was configured failed ({trial.outcome.reason}), so there is nothing to compare with."
            )
    failed = sum(trial.failed for trial in result.trials)
    if failed:
        cautions.append(f"{failed} of {len(result.trials)} trials failed; tune.json and tune.md have their reasons.")
    if result.best is not None:
        for key in result.edges:
            value, searched = _shown(result.best.values[key]), result.space[key]
            cautions.append(f"{key}={value} lies at the edge of {searched}: a wider range might hold a better value.")
    return cautions


def _trial_row(result: TuningReport, trial: Trial) -> list[str]:
    notes = [
        *(["configured"] if trial.number == 0 else []),
        *(["best"] if result.best is not None and trial.number == result.best.number else []),
        *([f"failed: {trial.outcome.reason}"] if trial.failed else []),
    ]
    return [
        str(trial.number),
        *(_shown(trial.values[key]) for key in result.space),
        *(number(_figure(trial, name)) for name in (*result.objective, "objective")),
        f"{trial.outcome.seconds:.0f}",
        ", ".join(notes),
    ]


def _figure(trial: Trial, name: str) -> float | None:
    return trial.objective if name == "objective" else trial.outcome.parts.get(name)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
