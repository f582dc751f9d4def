"""prerank.fit on a run that goes on from another: measured first, then trained on; whole by itself afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from configs.command import Invocation, parse
from configs.errors import InputError
from configs.stages import read_json
from graph.logs.prepare import prepare_log
from index.trends.command import trends
from prerank.encoding.batches import EncodedLog
from prerank.evaluating import evaluate_system
from prerank.evaluation.evaluation import read_evaluation
from prerank.fitting import fit_system
from prerank.loading import load_system
from prerank.training.checkpoints import read_start
from prerank.training.table_files import TableFiles

SMALL = (
    *("model.item.hash_vocabulary=64", "model.buckets=64", "model.dimension=4", "model.experts.hidden=[8]"),
    *("model.experts.tower=[4]", "pretrain.dimension=8", "prerank.batch_size=64", "prerank.threads=1"),
    *("prerank.max_epochs=1", "evaluation.draws=10", "data.cutoffs=[3]"),
)
START = datetime(2024, 1, 1, 8, tzinfo=UTC)
ITEMS = 30
Ask = Callable[..., Invocation]


def write_days(folder: Path, days: Sequence[int], seed: int = 0) -> Path:
    """Forty requests of six items a day, in the contract's form; cheap items are clicked."""
    draw = np.random.default_rng([seed, *days])
    rows: list[dict[str, Any]] = []
    for day in days:
        for request in range(40):
            moment = START + timedelta(days=day, minutes=request)
            common = {"request_id": request + 100 * day, "user_id": request % 7, "query": f"q{request % 5 + day}"}
            for place, item in enumerate(draw.permutation(ITEMS + 2 * day)[:6].tolist()):
                clicked = bool(draw.random() < (0.7 if item % 3 == 0 else 0.1))
                rows.append(
                    {
                        **common,
                        "timestamp": moment,
                        "item_id": item,
                        "position": place + 1,
                        "clicked": clicked,
                        "ordered": clicked and bool(draw.random() < 0.5),
                    }
                )
    table = pa.Table.from_pylist(rows)
    times = table["timestamp"].cast(pa.timestamp("ms", tz="UTC"))
    table = table.set_column(table.column_names.index("timestamp"), "timestamp", times)
    of_row = [(moment - START.replace(hour=0)).days for moment in times.to_pylist()]
    for day in days:
        path = folder / "impressions" / f"day={(START + timedelta(days=day)).date()}" / "a.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table.filter([each == day for each in of_row]), path)
    items = np.arange(ITEMS + 2 * max(days))
    brands = [f"b{item % 3}" for item in items]
    pq.write_table(pa.table({"item_id": items, "brand": brands, "price": 1.0 + items}), folder / "items.parquet")
    return folder


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Parses a command on a run of the folder ``runs``."""
    return lambda run, *keys: parse([f"runs_folder={tmp_path / 'runs'}", f"run={run}", *keys])


@pytest.fixture
def go_on(tmp_path: Path, ask: Ask) -> Callable[..., None]:
    """A function (run, days, keys) that makes the log of a run and settles its configuration, as pretrain.run does."""

    def make(run: str, days: Sequence[int], *keys: str) -> None:
        invocation = ask(run, "data=contract", f"data.path={write_days(tmp_path / run, days)}", *SMALL, *keys)
        prepare_log(invocation)
        invocation.save(invocation.run.config)

    return make


def fit(ask: Ask, run: str, model: str, *keys: str) -> Path:
    return fit_system(ask(run, *SMALL, f"model={model}", *keys))


@pytest.fixture
def monday(go_on: Callable[..., None]) -> None:
    """Three days, split by day."""
    go_on("monday", [0, 1, 2])


@pytest.mark.usefixtures("monday")
def test_a_chain_outlives_the_runs_that_it_came_from(tmp_path: Path, ask: Ask, go_on: Callable[..., None]) -> None:
    first = fit(ask, "monday", "ple")
    go_on("tuesday", [3], "from=monday")
    tuesday = fit(ask, "tuesday", "ple")
    before = read_evaluation(tuesday / "progressive")
    assert before.protocol["splits"]["test"]["rows"] == 240  # all of the day, and nothing that monday held out
    assert before.protocol["from"] == "monday"
    shutil.rmtree(first.parents[1])
    assert fit(ask, "tuesday", "ple") == tuesday  # finished before
    evaluate_system(ask("tuesday", "model=ple", "evaluation.draws=5"))
    assert load_system(ask("tuesday", "model=ple")).predict("test").click is not None
    go_on("wednesday", [4], "from=tuesday")
    wednesday = fit(ask, "wednesday", "ple")
    assert read_evaluation(wednesday / "progressive").protocol["from"] == "tuesday"
    report = trends(parse([f"runs_folder={tmp_path / 'runs'}", "run=wednesday", "trends.metrics=[gauc_click]"]))
    assert [run["origin"] for run in report.content["runs"]] == ["monday", "tuesday"]
    point = next(each for each in report.content["figures"] if each["section"] == "all")["points"][1]
    gauc = read_evaluation(wednesday / "progressive").metrics["test"]["all"]["gauc_click"]
    assert point["value"] == pytest.approx(gauc.value, abs=1e-5)


@pytest.mark.usefixtures("monday")
def test_yesterdays_system_is_measured_as_it_was(ask: Ask, go_on: Callable[..., None]) -> None:
    """Popularity tells: it would be another system had it seen a count of today."""
    fit(ask, "monday", "popularity")
    loaded = load_system(ask("monday", "model=popularity"))
    clicks = np.asarray(loaded.encoded.training_counts.clicks)
    go_on("tuesday", [3], "from=monday")
    folder = fit(ask, "tuesday", "popularity")
    today = EncodedLog.open(folder.parent / "encoded")
    assert today.training_counts.clicks[: len(clicks)].sum() > clicks.sum()
    gauc = read_evaluation(folder / "progressive").metrics["test"]["all"]["auc_click"]
    score, label = [], []
    counts = loaded.encoded.training_counts
    rate = (counts.clicks + 20 * counts.clicks.sum() / counts.impressions.sum()) / (counts.impressions + 20)
    rate = np.append(rate, np.full(len(today.items) - len(rate), counts.clicks.sum() / counts.impressions.sum()))
    for name in ("train", "validation", "test"):
        split = today.split(name)
        new = np.array([moment.day == 4 for moment in split.requests["timestamp"].to_pylist()])[split.request]
        score.append(rate[split.item[new]])
        label.append(split.clicked[new])
    scores, labels = np.concatenate(score), np.concatenate(label).astype(bool)
    pairs = scores[labels][:, None] - scores[~labels][None]
    assert gauc.value == pytest.approx(((pairs > 1e-9).mean() + 0.5 * (np.abs(pairs) <= 1e-9).mean()), abs=1e-3)


@pytest.mark.usefixtures("monday")
def test_weights_and_accumulators_go_on(ask: Ask, go_on: Callable[..., None]) -> None:
    monday = fit(ask, "monday", "ple")
    go_on("tuesday", [3], "from=monday")
    folder = fit(ask, "tuesday", "ple", "prerank.learning_rate=1e-30")  # moves nothing
    before, after = (load_system(ask(run, "model=ple")).fitted.module for run in ("monday", "tuesday"))
    moved = {
        name
        for (name, was), now in zip(before.state_dict().items(), after.state_dict().values(), strict=True)
        if not torch.equal(was, now)
    }
    assert moved
    assert all(name.endswith((".mean", ".scale")) for name in moved)  # the statistics are those of all rows so far
    was, now = (read_start(each, home) for each, home in ((before, monday), (after, folder)))
    assert was.keys() == now.keys()
    for name, state in was.items():
        assert (now[name]["sum"] >= state["sum"]).all()
        assert (state["sum"] > 0).any()
    assert any((now[name]["sum"] > state["sum"]).any() for name, state in was.items())


@pytest.mark.usefixtures("monday")
def test_two_fits_are_the_same_and_a_killed_one_resumes(
    ask: Ask, go_on: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(ask, "monday", "ple")
    go_on("tuesday", [3], "from=monday")
    once = fit(ask, "tuesday", "ple", "prerank.max_epochs=3", "prerank.batch_size=8")
    shutil.move(once, once.with_name("whole"))
    steps = iter(range(1000))
    mark = TableFiles.mark

    def killed(files: TableFiles) -> None:
        if next(steps) == 25:  # after two validations
            raise KeyboardInterrupt
        mark(files)

    with monkeypatch.context() as patch:
        patch.setattr(TableFiles, "mark", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fit(ask, "tuesday", "ple", "prerank.max_epochs=3", "prerank.batch_size=8")
    assert (once / "checkpoints" / "last.ckpt").exists()
    again = fit(ask, "tuesday", "ple", "prerank.max_epochs=3", "prerank.batch_size=8")
    for file in ("predictions.parquet", "metrics.json", "progressive/metrics.json"):
        assert (again / file).read_bytes() == (once.with_name("whole") / file).read_bytes(), file


@pytest.mark.usefixtures("monday")
def test_what_cannot_go_on_is_refused(ask: Ask, go_on: Callable[..., None]) -> None:
    fit(ask, "monday", "ple")
    go_on("tuesday", [3], "from=monday")
    for model, keys, said in (
        ("lightgbm", (), "model=lightgbm cannot go on from monday"),
        ("dssm", (), r"monday/prerank/dssm does not exist: run `python -m prerank.fit run=monday model=dssm` first"),
        ("ple", ("model.dimension=8",), "model.dimension=4, asked for 8"),
        ("ple", ("data.cutoffs=[4]",), "must have its keys: data.cutoffs differ"),
    ):
        with pytest.raises(InputError, match=said):
            fit(ask, "tuesday", model, *keys)


@pytest.mark.usefixtures("monday")
def test_statistics_are_those_of_all_training_rows(ask: Ask, go_on: Callable[..., None]) -> None:
    fit(ask, "monday", "popularity")
    go_on("tuesday", [3], "from=monday")
    fit(ask, "tuesday", "popularity")
    before, today = (EncodedLog.open(ask(run).run.encoded) for run in ("monday", "tuesday"))
    assert today.schema.columns == before.schema.columns
    assert today.schema.cutoffs == before.schema.cutoffs
    (price,) = today.schema.sides["item"].numbers
    seen = np.asarray(today.training_counts.impressions) > 0
    values = np.asarray(today.items.features.numbers)[seen, 0]
    assert (price.mean, price.std) == pytest.approx((values.mean(), values.std()), rel=1e-5)
    assert price.edges == before.schema.sides["item"].numbers[0].edges
    queries = set(before.split("train").requests["query"].to_pylist())
    queries |= set(today.split("train").requests["query"].to_pylist())
    assert sorted(today.training_queries.to_pylist()) == sorted(queries)
    assert read_json(ask("tuesday").run.logs / "log.json")["since"]["run"] == "monday"
