"""Another seed moves figures: how far is told from runs that repeat each other, and not guessed without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, t

from configs.command import parse, save
from configs.stages import Run, write_json
from graph.figure import Difference, Figure
from index.trends.command import Trends, trends
from index.trends.training import SeedNoise, Training, audit_training, seed_noise, training_of, with_noise
from prerank.evaluation.evaluation import Evaluation

DRAWS = 200
RUNS = ("monday", "tuesday", "wednesday", "thursday")


def test_the_spread_over_seeds_is_pooled_over_setups() -> None:
    found = seed_noise(
        [
            *((Training(seed, "a"), value) for seed, value in enumerate((1.0, 3.0))),
            *((Training(seed, "b"), value) for seed, value in enumerate((5.0, 5.0, 8.0))),
            (Training(0, "alone"), 99.0),
            (Training(0, None), 50.0),
            (Training(None, "a"), 70.0),
        ]
    )
    assert found == SeedNoise(math.sqrt(((1 - 2) ** 2 + (3 - 2) ** 2 + 1 + 1 + 4) / 3), 3)


def test_one_seed_twice_says_nothing_of_noise() -> None:
    assert seed_noise([(Training(0, "a"), 1.0), (Training(0, "a"), 3.0)]) is None
    assert seed_noise([]) is None


def test_noise_alone_is_students_t_and_none_leaves_the_difference_alone() -> None:
    sampled = Difference(2.0, -1.0, 1.0, 9, p=0.9)
    noisy = with_noise(sampled, 0.0, SeedNoise(0.5, 3), 0.95)
    spread = math.sqrt(2) * 0.5
    assert noisy.high == pytest.approx(2.0 + t.ppf(0.975, 3) * spread)
    assert noisy.p == pytest.approx(2 * t.sf(2.0 / spread, 3))
    assert with_noise(sampled, 0.4, SeedNoise(0.0, 3), 0.95) == sampled
    nothing = Difference(2.0, None, None, 9)
    assert with_noise(nothing, 0.0, SeedNoise(0.5, 3), 0.95) == nothing
    far = with_noise(replace(sampled, value=50.0), 0.001, SeedNoise(0.001, 10**6), 0.95).p
    assert far is not None
    assert far < 1e-200
    many = with_noise(sampled, 0.5, SeedNoise(0.5, 10**6), 0.95)
    assert many.p == pytest.approx(2 * norm.sf(2.0 / math.sqrt(0.75)), rel=1e-3)


def test_runs_that_differ_in_their_seed_alone_move_as_seldom_as_promised() -> None:
    """Null series: sampling and training noise, the latter known from three other trainings of one log only."""
    random, error, deviation, found = np.random.default_rng(3), 0.7, 1.0, 0
    for _ in range(2000):
        repeats = random.normal(scale=deviation, size=3)
        noise = SeedNoise(float(repeats.std(ddof=1)), 2)
        gap = random.normal(scale=error) + random.normal(scale=deviation * math.sqrt(2))
        p = with_noise(Difference(gap, 0.0, 0.0, 9, p=0.5), error, noise, 0.95).p
        found += p is not None and p < 0.05
    assert 0.02 < found / 2000 < 0.055


Make = Callable[..., Trends]


@pytest.fixture
def series(tmp_path: Path) -> Make:
    """A report over runs, each given as (log, seed, value)."""

    def run(*given: tuple[str, int, float], model: str = "grace") -> Trends:
        for name, (log, seed, value) in zip(RUNS, given, strict=False):
            made = Run(tmp_path / name)
            config = parse([f"runs_folder={tmp_path}", f"run={name}", f"seed={seed}", f"model={model}"]).config
            save(config, made.config)
            save(config, made.system("grace") / "config.yaml")
            write_json(made.logs / "log.json", {"catalogue": log, "splits": {"test": {"last": log}}})
            measured(value, log).write(made.system("grace"))
        return trends(parse([f"runs_folder={tmp_path}", "run=report", f"trends.runs=[{','.join(RUNS[: len(given)])}]"]))

    return run


def measured(value: float, log: str) -> Evaluation:
    """One figure; runs of one log have the same test rows and draws."""
    rows = np.random.default_rng([7, len(log)]).normal(scale=0.002, size=DRAWS)
    own = np.random.default_rng(int(value * 1e6)).normal(scale=0.001, size=DRAWS)
    cells = {"gauc_click": Figure(value, value - 0.004, value + 0.004, 500)}
    protocol = {
        "draws": DRAWS, "confidence": 0.95, "splits": {"test": {"pairing": log}},
        "bootstrap": [["test", "all", "gauc_click"]],
    }  # fmt: skip
    return Evaluation({"test": {"all": cells}}, protocol, (value + rows + own)[None].astype(np.float32))


def only(made: Trends) -> dict[str, Any]:
    (figure,) = made.content["figures"]
    return dict(figure)


def test_two_seeds_of_one_log_have_not_moved(series: Make) -> None:
    made = series(("2024-01-01", 0, 0.70), ("2024-01-01", 1, 0.72))
    (step,) = only(made)["steps"]
    assert (step["state"], step["how"]) == ("level", "paired")
    assert step["noise"] == [pytest.approx(0.02 / math.sqrt(2), abs=1e-5), 1]
    assert made.content["verdict"][0].startswith("2 runs")
    assert "0 of 1 tested changes moved" in made.content["verdict"][0]
    assert any("hold that where runs repeat each other" in sentence for sentence in made.content["verdict"])


def test_the_same_seed_on_the_same_log_is_tested_as_before(series: Make) -> None:
    (step,) = only(series(("2024-01-01", 0, 0.70), ("2024-01-01", 0, 0.72)))["steps"]
    assert (step["state"], step["noise"]) == ("moved", None)
    repeats = series(("2024-01-01", 0, 0.70), ("2024-01-01", 1, 0.7001), ("2024-01-01", 1, 0.72))
    first, again = only(repeats)["steps"]
    assert (first["noise"][1], again["noise"], again["state"]) == (1, None, "moved")


def test_a_change_between_seeds_of_unlike_logs_is_set_apart(series: Make, open_page: Callable[..., Any]) -> None:
    made = series(("2024-01-01", 0, 0.70), ("2024-01-02", 1, 0.72))
    (step,) = only(made)["steps"]
    assert (step["state"], step["noise"]) == ("seeds", None)
    words = made.content["verdict"]
    assert "0 of 1 tested changes moved" in words[0]
    assert words[1].startswith("1 more (▲?, ▼?) moved between runs of different seeds")
    assert "from monday to tuesday, and the seeds differ; interval" in words[2]
    text = made.files[2].read_text()
    assert "| seeds differ |" in text
    assert "0.7200 ▲? |" in text
    page = open_page(made.files[0])
    assert "+2.00 points ▲? seeds differ" in page.inner_text("#points")
    assert page.locator("#plot .mark.seeds").count() == 1


def test_repeats_of_one_day_tell_what_another_day_may_be(series: Make) -> None:
    repeats = [("2024-01-01", seed, 0.70 + 0.0002 * seed) for seed in range(3)]
    made = series(*repeats, ("2024-01-02", 3, 0.72))
    *_, last = only(made)["steps"]
    assert last["noise"] == [pytest.approx(0.0002), 2]
    assert (last["state"], last["how"]) == ("moved", "independent")
    assert "with the noise of training" in made.content["family"]["ways"]
    loud = [("2024-01-01", seed, 0.70 + 0.02 * seed) for seed in range(3)]
    *_, last = only(series(*loud, ("2024-01-02", 3, 0.76)))["steps"]
    assert last["state"] == "level"


def test_other_settings_are_no_repeat(tmp_path: Path) -> None:
    run = Run(tmp_path / "a")
    write_json(run.logs / "log.json", {"catalogue": "x", "splits": {}})
    found = []
    for number, asked in enumerate((["seed=1"], ["seed=2", "trends.metrics=[x]"], ["seed=3", "prerank.max_epochs=9"])):
        path = tmp_path / f"{number}.yaml"
        save(parse([*asked, "run=a"]).config, path)
        found.append(training_of(run, path))
    assert [training.seed for training in found] == [1, 2, 3]
    assert found[0].setup == found[1].setup != found[2].setup
    assert training_of(run, tmp_path / "nothing.yaml") == Training()


def test_an_audit_is_of_one_seed_or_of_none(tmp_path: Path) -> None:
    run = Run(tmp_path / "a")
    write_json(run.logs / "log.json", {"catalogue": "x", "splits": {}})
    for path in (run.config, run.index / "config.yaml", run.system("grace") / "config.yaml"):
        save(parse(["seed=4", "run=a"]).config, path)
    system = training_of(run, run.system("grace") / "config.yaml")
    assert audit_training(run, system).setup not in (None, system.setup)
    assert audit_training(run, Training(5, system.setup)) == Training(4, None)
