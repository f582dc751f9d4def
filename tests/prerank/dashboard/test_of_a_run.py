"""The dashboard's whole path: a log full of hostile text, fitted systems, the files on the disk, and what is kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from configs.command import parse, save
from configs.stages import Run
from graph.logs.prepare import prepare_log
from prerank.dashboard import figures as dashboard_figures
from prerank.dashboard.page import write_dashboard
from prerank.fitting import fit_system
from tests.prerank.pages.elements import PageElements

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}\u2028"
ITEMS, REQUESTS, LENGTH, DAYS = 30, 90, 10, 3


def write_log(folder: Path) -> None:
    """A contract folder whose every text is an attack."""
    draw = np.random.default_rng(0)
    items = {
        "item_id": [f"{HOSTILE}{number}" for number in range(ITEMS)],
        "title": [f"{HOSTILE} thing {number}" for number in range(ITEMS)],
        "brand": [f"{HOSTILE} brand {number % 4}" for number in range(ITEMS)],
        "price": pa.array(draw.lognormal(3, 0.5, ITEMS), pa.float32()),
    }
    folder.mkdir()
    pq.write_table(pa.table(items), folder / "items.parquet")
    for day in range(DAYS):
        numbers = np.repeat(np.arange(REQUESTS) + day * REQUESTS, LENGTH)
        chosen = np.concatenate([draw.choice(ITEMS, LENGTH, replace=False) for _ in range(REQUESTS)])
        clicked = draw.random(len(chosen)) < 0.1 + 0.5 * (chosen % 4 == 0)
        start = datetime(2024, 1, 1 + day, 12, tzinfo=UTC)
        rows = {
            "request_id": [f"{HOSTILE} {number}" for number in numbers],
            "user_id": [f"{HOSTILE} {number % 20}" for number in numbers],
            "query": [f"{HOSTILE} {number % 7}" for number in numbers],
            "item_id": [items["item_id"][item] for item in chosen],
            "timestamp": pa.array([start + timedelta(seconds=int(n)) for n in numbers], pa.timestamp("ms", "UTC")),
            "stage": ["exposed"] * len(chosen),
            "position": pa.array(np.tile(np.arange(LENGTH) + 1, REQUESTS), pa.int32()),
            "clicked": clicked,
            "ordered": clicked & (draw.random(len(chosen)) < 0.5),
        }
        path = folder / "impressions" / f"day={start:%Y-%m-%d}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(rows), path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two systems fitted by the command on that log."""
    folder = tmp_path_factory.mktemp("dashboard")
    write_log(folder / "log")
    asked = ["data=contract", f"data.path={folder / 'log'}", "data.cutoffs=[3]", f"runs_folder={folder}", "run=one"]
    asked += ["evaluation.draws=10", "evaluation.recall_at=[3]"]
    request = parse(asked)
    save(request.config, request.run.config)
    prepare_log(request)
    for model in ("popularity", "lightgbm"):
        fit_system(parse([*asked, f"model={model}", "model.lightgbm.trees=5"]))
    return request.run


def strict(text: str) -> Any:
    """JSON without NaN or infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_run_ends_with_a_page_and_its_json_beside_it(run: Run) -> None:
    path = write_dashboard(run)
    assert sorted(file.name for file in run.reports.iterdir()) == ["segments.html", "segments.json"]
    beside = strict((run.reports / "segments.json").read_text(encoding="utf-8"))
    page = PageElements(path.read_text(encoding="utf-8"))
    assert strict(page.scripts[0]) == beside
    assert beside["systems"] == ["popularity", "lightgbm"]
    details = beside["details"]
    assert details["left_out"] == {}
    for part in ("figures", "calibration", "gains"):
        assert sorted(details[part]) == ["lightgbm", "popularity"]
    assert [attribute["name"] for attribute in details["attributes"]] == ["brand", "price (fifths)", "query frequency"]
    assert details["requests"]["pairs"]


def test_no_text_of_the_log_becomes_markup(run: Run) -> None:
    path = write_dashboard(run)
    text = path.read_text(encoding="utf-8")
    page, held = PageElements(text), (run.reports / "segments.json").read_text(encoding="utf-8")
    shown = strict(held)["details"]["requests"]
    assert HOSTILE in shown["requests"][0]["query"]
    assert HOSTILE in shown["requests"][0]["request_id"]
    assert any(HOSTILE in title for title, *_ in shown["items"])
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert not any(name.startswith("on") for name in page.attributes)
    assert "<img" not in text


def test_changed_predictions_are_measured_again_and_nothing_else_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dashboard(run)
    before = strict((run.reports / "segments.json").read_text())["details"]
    measured, measure = [], dashboard_figures.measure
    monkeypatch.setattr(dashboard_figures, "measure", lambda path, *more: measured.append(path) or measure(path, *more))
    write_dashboard(run)
    assert measured == []
    path = run.system("lightgbm") / "predictions.parquet"
    kept = path.read_bytes()
    table = pq.read_table(path)
    reversed_scores = pc.negate(table["score"])
    pq.write_table(table.set_column(table.column_names.index("score"), "score", reversed_scores), path)
    try:
        write_dashboard(run)
    finally:
        path.write_bytes(kept)
    after = strict((run.reports / "segments.json").read_text())["details"]
    assert measured == [path]
    assert after["figures"]["popularity"] == before["figures"]["popularity"]
    place = before["metrics"]["lightgbm"]["test"].index("gauc_click")
    old, new = (details["figures"]["lightgbm"]["test"][0][0][place][0] for details in (before, after))
    assert new == pytest.approx(1 - old, abs=2e-4)
