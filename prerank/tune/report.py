"""What a search has found: ``tune.json``, ``tune.md``, and ``best.yaml`` for ``--config``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from configs.console import table, warn
from configs.errors import InputError
from configs.schema import Config
from configs.stages import replacing, write_json
from prerank.tune.search import Trial
from prerank.tune.space import Space, with_values


@dataclass(frozen=True)
class Found:
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


def write_report(found: Found, folder: Path) -> None:
    """Write ``tune.json`` and ``tune.md``; with a best trial also ``best.yaml``, otherwise there is none afterwards."""
    write_json(folder / "tune.json", _facts(found))
    with replacing(folder / "tune.md") as temporary:
        temporary.write_text(_markdown(found), encoding="utf-8")
    if found.best is None:
        (folder / "best.yaml").unlink(missing_ok=True)
        return
    head = (
        f"# Trial {found.best.number} of the search in tune.json: python -m prerank.fit model={found.system} --config\n"
    )
    with replacing(folder / "best.yaml") as temporary:
        temporary.write_text(head + yaml.safe_dump(nested(found.best.values), sort_keys=False), encoding="utf-8")


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"model.rank.weight": 1}`` as ``{"model": {"rank": {"weight": 1}}}``."""
    made: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        place = made
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return made


def print_report(found: Found) -> None:
    """The best trial beside what was configured, and what to be careful about."""
    if found.best is None:
        return
    rows = [[cell or "–" for cell in row] for row in _comparison(found)]
    title = f"{found.system}: {len(found.trials)} of {found.asked} trials, validation, seed {found.seed}"
    table(title, ["", "configured", f"best (trial {found.best.number})", "difference"], rows)
    for sentence in _cautions(found):
        warn(sentence)


def _facts(found: Found) -> dict[str, Any]:
    best = found.best
    return {
        "run": found.run,
        "system": found.system,
        "identity": found.identity,
        "split": "validation",
        "seed": found.seed,
        "objective": list(found.objective),
        "space": {key: asdict(searched) for key, searched in found.space.items()},
        "asked": found.asked,
        "finished": len(found.trials),
        "failed": sum(trial.failed for trial in found.trials),
        "defaults": None if found.defaults is None else found.defaults.facts,
        "best": None if best is None else best.facts,
        "gain": found.gain,
        "at_the_edge": found.edges,
        "trials": [trial.facts for trial in found.trials],
    }


def _markdown(found: Found) -> str:
    mean = " and ".join(found.objective)
    lines = [
        f"# model={found.system}, tuned on the validation split of run={found.run}",
        "",
        f"{len(found.trials)} of {found.asked} trials, seed {found.seed}. Maximised: the mean of {mean}, of the fused "
        "score on validation. Trial 0 is what was configured. No row of the test split was predicted.",
        "",
        *_best_against_defaults(found),
        *(f"**{sentence}**\n" for sentence in _cautions(found)),
        "## Trials, best first",
        "",
    ]
    heads = ["trial", *found.space, *found.objective, "objective", "seconds", ""]
    ranked = sorted(found.trials, key=lambda trial: (trial.failed, -(trial.objective or 0.0), trial.number))
    lines += _rows(heads, [_trial_row(found, trial) for trial in ranked])
    return "\n".join(lines) + "\n"


def _best_against_defaults(found: Found) -> list[str]:
    if found.best is None:
        return ["No trial has succeeded.", ""]
    heads = ["", "configured", f"best (trial {found.best.number})", "difference"]
    return [
        *_rows(heads, _comparison(found)),
        "",
        "The difference is on the rows that chose the best trial, so it flatters; the test split says what is left.",
        "",
    ]


def _comparison(found: Found) -> list[list[str]]:
    """A row for each key and figure: what was configured, the best, the difference of the figures."""
    assert found.best is not None
    before = found.trials[0].values if found.trials[0].number == 0 else {}
    rows = [[key, _shown(before.get(key)), _shown(value), ""] for key, value in found.best.values.items()]
    first, best = found.defaults, found.best
    for name in (*found.objective, "objective"):
        a, b = (None if trial is None else _figure(trial, name) for trial in (first, best))
        difference = "" if a is None or b is None else f"{b - a:+.4f}"
        rows.append([name, _shown_figure(a), _shown_figure(b), difference])
    return rows


def _cautions(found: Found) -> list[str]:
    made = []
    for trial in found.trials:
        if trial.number == 0 and trial.failed:
            made.append(f"What was configured failed ({trial.outcome.reason}), so there is nothing to compare with.")
    failed = sum(trial.failed for trial in found.trials)
    if failed:
        made.append(f"{failed} of {len(found.trials)} trials failed; tune.json and tune.md have their reasons.")
    if found.best is not None:
        for key in found.edges:
            value, searched = _shown(found.best.values[key]), found.space[key]
            made.append(f"{key}={value} lies at the edge of {searched}: a wider range might hold a better value.")
    return made


def _trial_row(found: Found, trial: Trial) -> list[str]:
    notes = [
        *(["configured"] if trial.number == 0 else []),
        *(["best"] if found.best is not None and trial.number == found.best.number else []),
        *([f"failed: {trial.outcome.reason}"] if trial.failed else []),
    ]
    return [
        str(trial.number),
        *(_shown(trial.values[key]) for key in found.space),
        *(_shown_figure(_figure(trial, name)) for name in (*found.objective, "objective")),
        f"{trial.outcome.seconds:.0f}",
        ", ".join(notes),
    ]


def _figure(trial: Trial, name: str) -> float | None:
    return trial.objective if name == "objective" else trial.outcome.parts.get(name)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _shown_figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    cells = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in row)} |" for row in cells]
