"""The wall: nothing hidden is written, and nothing outside of the simulator can reach it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from graph.logs.marketplace.state import make_state

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "graph" / "logs" / "marketplace"
ROOMS = ("configs", "graph", "pretrain", "prerank", "index")

WRITTEN = {
    "impressions": [
        "request_id", "user_id", "query", "item_id", "timestamp", "stage", "position", "rank_score", "clicked",
        "ordered", "price", "propensity", "session_id", "history", "text_match",
    ],
    "items": ["item_id", "title", "category", "brand", "shop", "price", "listed_at"],
    "users": ["user_id", "age_band", "region"],
    "queries": ["query", "predicted_category", "words"],
}  # fmt: skip
"""Every column that the simulator may write. A new one belongs here only if a real platform could know it."""

TEACHER = ("rank_score", "position")
"""The ranking model's output: a noisy function of utility by design."""


@pytest.fixture(scope="module")
def state(tiny):
    return make_state(tiny.world, tiny.seed)


def hidden_columns(hidden: object, rows: int) -> dict[str, np.ndarray]:
    """Every hidden number of an entity, one column each."""
    columns = {}
    for name, values in vars(hidden).items():
        for number, column in enumerate(values.reshape(rows, -1).T):
            columns[f"{name}[{number}]"] = column
    return columns


def assert_nothing_shows(written: dict[str, np.ndarray], hidden: dict[str, np.ndarray]) -> None:
    for seen, values in written.items():
        for name, latent in hidden.items():
            if len(np.unique(latent)) > 1 and len(np.unique(values)) > 1:
                assert abs(spearmanr(values, latent).statistic) < 0.9, f"{seen} tells {name}"


def as_numbers(table) -> dict[str, np.ndarray]:
    """Columns as ranks of their values, and the rows' own order."""
    columns = {name: np.unique(table[name].to_numpy(), return_inverse=True)[1] for name in table.column_names}
    return columns | {"row": np.arange(table.num_rows)}


def test_exactly_the_allowed_columns_are_written(tiny):
    assert tiny.impressions().column_names == WRITTEN["impressions"]
    for name in ("items", "users", "queries"):
        assert tiny.table(name).column_names == WRITTEN[name]
    assert sorted(path.name for path in tiny.folder.iterdir()) == [
        "impressions", "items.parquet", "queries.parquet", "users.parquet", "world.json",
    ]  # fmt: skip


def test_no_item_column_tells_a_latent(tiny, state):
    items = tiny.table("items")
    place = np.argsort(np.argsort(state.seen.catalogue.item_id))
    order = np.argsort(place)
    hidden = {name: values[order] for name, values in hidden_columns(state.items, len(order)).items()}
    hidden.pop("topic[0]")  # a topic's number follows its category's; categories are no secret
    assert_nothing_shows(as_numbers(items), hidden)
    within = items.to_pandas().groupby("category").indices
    topics = state.items.topic[order]
    for rows in within.values():
        for name, values in as_numbers(items.take(rows)).items():
            if len(np.unique(values)) > 1:
                assert abs(spearmanr(values, topics[rows]).statistic) < 0.9, f"{name} tells the topic"


def test_no_user_column_tells_a_latent(tiny, state):
    order = np.argsort(state.seen.users.user_id)
    hidden = hidden_columns(state.users, len(order))
    assert_nothing_shows(as_numbers(tiny.table("users")), {name: values[order] for name, values in hidden.items()})


def test_no_impression_column_tells_quality(tiny, state):
    log = tiny.impressions().drop_columns(["query", "stage", "history", *TEACHER]).to_pandas()
    by_id = dict(zip(state.seen.catalogue.item_id.tolist(), state.items.quality.tolist(), strict=True))
    quality = log.item_id.map(by_id).to_numpy()
    for name in log.columns:
        known = log[name].notna().to_numpy()
        values = np.unique(log[name][known].to_numpy(), return_inverse=True)[1]
        if len(np.unique(values)) > 1:
            assert abs(spearmanr(values, quality[known]).statistic) < 0.9, f"{name} tells quality"


def test_the_writer_knows_nothing_hidden():
    tree = ast.parse((PACKAGE / "writing.py").read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not {name for name in names if name.startswith("Hidden")}
    assert not names & {"make_state", "utility", "quality", "topic", "ideal", "attention"}


def test_only_the_reader_reaches_into_the_simulator():
    allowed = {ROOT / "graph" / "logs" / "readers" / "marketplace.py"}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            if file.is_relative_to(PACKAGE) or file in allowed:
                continue
            text = file.read_text(encoding="utf-8")
            assert "graph.logs.marketplace" not in text, f"{file} imports the simulator"
