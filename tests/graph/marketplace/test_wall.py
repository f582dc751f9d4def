"""The wall: nothing hidden is written, and nothing outside of the simulator can reach it."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from scipy.stats import spearmanr

from graph.marketplace.replay import ReplayLog
from graph.marketplace.world.demand import Requests
from graph.marketplace.world.observed import Observed, PreRanker
from graph.marketplace.world.state import Seen, make_state

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "graph" / "marketplace"
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

SIMULATOR = "graph.marketplace"
READER_FILE = "graph/logs/readers/marketplace.py"
READER = {"simulate": {"simulate"}}
REPLAY_FILES = {f"prerank/ab/{name}.py" for name in ("experiment", "report", "live", "replays")}
"""The A/B replay: it runs the cascade on, after everything is fitted."""
REPLAY = {
    "replay": {"Bound", "ReplayLog", "replay"},
    "world.observed": {"Candidates", "Observed", "PreRanker"},
    "writing": {"IMPRESSIONS", "items_table", "queries_table", "users_table"},
    "world.demand": {"Requests"},
    "world.state": {"Seen"},
}
"""What it may name: module → names. ``make_state`` is none of them."""
UNAWARE = (
    "writing",
    "world/observed",
    "cascade/history",
    *sorted(f"ranker/{file.stem}" for file in (PACKAGE / "ranker").glob("*.py")),
)
"""Parts of the simulator that see no more than the log: what writes it, and the learned ranking model."""

NO_SECRET = ("leaf", "brand", "shop", "price", "topic")
"""Truths of an item that its page shows; a topic's number follows its category's, so it is judged within those."""

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
    row = {item: place for place, item in enumerate(state.seen.catalogue.item_id.tolist())}
    order = np.array([row[item] for item in items["item_id"].to_pylist()])
    latents = hidden_columns(state.items, len(row))
    hidden = {name: values[order] for name, values in latents.items() if name.split("[")[0] not in NO_SECRET}
    assert {"quality[0]", "style[0]", "attention[0]"} <= hidden.keys()
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


def names_in(tree: ast.AST) -> set[str]:
    """Every name, attribute and imported name of a module, and those quoted in annotations."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {part for alias in node.names for part in (*alias.name.split("."), alias.asname or "")}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)
    return found


def hidden_in(tree: ast.AST) -> set[str]:
    return {name for name in names_in(tree) if name.startswith("Hidden")}


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path) -> list[tuple[str, str]]:
    """(module, name) of every import of a file, wherever it stands; the name is empty for a plain import."""
    found = []
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where they lead"
            found += [(str(node.module), alias.name) for alias in node.names]
    return found


def into_the_simulator(file: Path) -> list[tuple[str, str]]:
    """A file's imports of the simulator: (module within it, name)."""
    found = []
    for module, name in imports_of(file):
        whole = f"{module}.{name}" if module in ("graph", "graph.logs") else module
        if whole == SIMULATOR or whole.startswith(f"{SIMULATOR}."):
            found.append((whole.removeprefix(SIMULATOR).lstrip("."), name))
    return found


def text_of_code(file: Path) -> str:
    """The strings of a file that are no docstrings: module names given to an importer would be among them."""
    tree = parsed(file)
    documentation = {
        id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
    }
    texts = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return "\n".join(n.value for n in texts if id(n) not in documentation)


FILES = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
OUTSIDE = [file for file in FILES if not file.is_relative_to(PACKAGE)]


@pytest.mark.parametrize("name", UNAWARE)
def test_what_works_from_the_log_knows_nothing_hidden(name):
    tree = parsed(PACKAGE / f"{name}.py")
    assert not hidden_in(tree)
    assert not names_in(tree) & {
        "make_state",
        "truth_of",
        "appeal_and_satisfaction",
        "utility",
        "quality",
        "topic",
        "ideal",
    }


def test_nothing_outside_names_a_hidden_class():
    assert len(OUTSIDE) > 50
    for file in OUTSIDE:
        assert not hidden_in(parsed(file)), f"{file} names {hidden_in(parsed(file))}"


def test_only_the_reader_and_the_replay_reach_into_the_simulator():
    for file in OUTSIDE:
        where = file.relative_to(ROOT).as_posix()
        assert SIMULATOR not in text_of_code(file), f"{where} names the simulator in a string"
        for module, name in into_the_simulator(file):
            allowed = READER if where == READER_FILE else REPLAY if where in REPLAY_FILES else {}
            assert name in allowed.get(module, ()), f"{where} imports {name or 'all'} of the simulator's {module}"


def test_no_feature_graph_psi_or_model_imports_what_replays():
    """Followed through every import: of all rooms, only the replay's own commands lead into the simulator."""
    modules = {module_of(file): file for file in FILES}
    leads = {
        module: {part for found, name in imports_of(file) for part in (found, f"{found}.{name}") if part in modules}
        for module, file in modules.items()
    }
    inside = {module for module in modules if module == SIMULATOR or module.startswith(f"{SIMULATOR}.")}
    reaching = set(inside)
    while more := {module for module, found in leads.items() if found & reaching} - reaching:
        reaching |= more
    replay = {module_of(ROOT / file) for file in (*REPLAY_FILES, READER_FILE)}
    assert inside < reaching
    assert reaching - inside <= replay


@pytest.mark.parametrize("shared", [Observed, PreRanker, ReplayLog, Seen, Requests], ids=lambda kind: kind.__name__)
def test_nothing_that_is_handed_out_holds_a_hidden_class(shared):
    """The classes that the replay and pre-rankers get, through all their fields and methods."""
    todo, known = [shared], set()
    while todo:
        kind = todo.pop()
        if kind in known or not getattr(kind, "__module__", "").startswith(SIMULATOR):
            continue
        known.add(kind)
        assert not kind.__name__.startswith("Hidden"), f"{shared.__name__} leads to {kind.__name__}"
        hints = [kind, *(member for member in vars(kind).values() if inspect.isfunction(member))]
        todo += [part for each in hints for hint in get_type_hints(each).values() for part in (hint, *get_args(hint))]
    assert shared in known
