"""The wall, seen from the models: all that they use is the log, and nothing of its test day reaches training."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as lightning
from scipy.stats import spearmanr

from configs.command import Invocation, parse
from configs.schema import DataConfig
from configs.worlds import load_world
from graph.building import build_graph
from graph.logs.log import SearchLog
from graph.logs.prepare import prepare_log
from graph.marketplace.world.state import make_state
from graph.store import Graph
from prerank import systems
from prerank.encoding.batches import EncodedLog
from prerank.encoding.columns import OUTCOMES
from prerank.encoding.features import encode_log
from prerank.fitting import open_work
from pretrain.embeddings import EmbeddingTable
from pretrain.psi import train_psi

CONTRACT = ("impressions", "items.parquet", "users.parquet", "queries.parquet")
"""What a real platform would hand over."""
SMALL = (
    "pretrain.max_epochs=2", "pretrain.dimension=8", "pretrain.hidden=8", "pretrain.text_dimension=8",
    "pretrain.text_buckets=500", "pretrain.threads=1", "pretrain.min_engagement=1", "model=ple", "model.buckets=200",
    "model.dimension=4", "model.item.hash_vocabulary=500", "model.experts.hidden=[16]", "prerank.max_epochs=1",
    "prerank.threads=1",
)  # fmt: skip
ASIDE = {"manifest.json", "log.json", "metrics.json", "started.json", "history.json", "graph.json", "schema.json"}
"""Files that name the run's identity or its seconds; the figures of graph.json and schema.json are compared apart."""
ALLOWED = {
    "impressions": {"user_id", "query", "price", "history", "text_match"},
    "items": {"title", "category", "brand", "shop", "price"},
    "users": {"age_band", "region"},
    "queries": {"predicted_category", "words"},
}
"""Columns that features of the marketplace may be made of: nothing that is known only after the ranking."""
NO_SECRET = ("leaf", "brand", "shop", "price", "topic")
"""Truths of an item that its page shows; a topic's number follows its category's."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run up to a fitted PLE."""

    log: SearchLog
    graph: Graph
    psi: EmbeddingTable
    encoded: EncodedLog
    weights: dict[str, bytes]

    def learned(self) -> dict[str, bytes]:
        """All that training made or saw, by name: graph, psi, encoded training rows and counts, weights."""
        root = self.log.folder.parent
        parts = {"graph": self.graph.folder, "psi": root / "pretrain" / "psi", "train": self.encoded_folder / "train"}
        found = {f"{part}/{name}": content for part, folder in parts.items() for name, content in files_of(folder)}
        counts = self.encoded_folder.glob("items/training_*.npy")
        found |= {f"counts/{path.name}": path.read_bytes() for path in counts}
        facts = {name: value for name, value in self.graph.facts.items() if name != "log"}
        found["graph/facts"] = json.dumps(facts, sort_keys=True, default=str).encode()
        schema = json.loads((self.encoded_folder / "schema.json").read_text())
        found["statistics"] = json.dumps([schema["sides"], schema["cutoffs"]], sort_keys=True).encode()
        return found | {f"weights/{name}": content for name, content in self.weights.items()}

    @property
    def encoded_folder(self) -> Path:
        return self.log.folder.parent / "prerank" / "encoded"


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ASIDE:
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def different(left: dict[str, bytes], right: dict[str, bytes]) -> list[str]:
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def trained(request: Invocation, before: Callable[[Path], None] = lambda _: None) -> Trained:
    """Run every stage; ``before`` is called with the checked log's folder once that is written."""
    log = prepare_log(request)
    before(log.folder)
    graph = build_graph(request, log)
    psi = train_psi(graph, log, request.config, request.run.pretrain).table
    encoded = encode_log(request, log)
    lightning.seed_everything(request.config.seed, verbose=False)
    fitted = systems.find(request.config.model).fit(open_work(request.config, request.run, encoded))
    state = fitted.module.state_dict()
    return Trained(log, graph, psi, encoded, {name: values.numpy().tobytes() for name, values in state.items()})


def on_contract(folder: Path, data: DataConfig, days: dict[str, list[str]], run: str) -> Invocation:
    """A request that reads a contract folder, with the columns of ``data`` and fixed days."""
    request = parse([f"runs_folder={folder.parent}", f"run={run}", *SMALL])
    split = dataclasses.replace(data.split, by="day", **days)
    request.config.data = dataclasses.replace(data, name="contract", path=str(folder), split=split)
    return request


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory, tiny_log: Path) -> Trained:
    """The tiny world through every stage; the simulator's own figures are garbled once the log is written."""

    def garble(logs: Path) -> None:
        assert (logs / "world.json").exists()
        (logs / "world.json").write_text("{ no stage may read this", encoding="utf-8")

    folder = tmp_path_factory.mktemp("simulated")
    request = parse([f"runs_folder={folder}", "run=simulated", "data=marketplace", "data.world=tiny", *SMALL])
    shutil.copytree(tiny_log, request.run.logs)
    return trained(request, garble)


@pytest.fixture(scope="module")
def rerun(simulated: Trained, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    """Trains on a copy of the log's contract files alone, which ``change`` may alter before."""
    data = parse(["data=marketplace", "data.world=tiny"]).config.data
    days = {name: facts["days"] for name, facts in simulated.log.facts["splits"].items()}

    def run(name: str, change: Callable[[Path], None] = lambda _: None) -> Trained:
        folder = tmp_path_factory.mktemp(name) / "contract"
        folder.mkdir()
        for part in CONTRACT:
            source = simulated.log.folder / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
        change(folder)
        return trained(on_contract(folder, data, days, name))

    return run


@pytest.fixture(scope="module")
def from_contract(rerun: Callable[..., Trained]) -> Trained:
    return rerun("copied")


def day_file(folder: Path, day: str) -> Path:
    return folder / "impressions" / f"day={day}" / "part-0.parquet"


def last_day(trained: Trained, split: str) -> str:
    return max(trained.log.facts["splits"][split]["days"])


def changed_rows(rows: pa.Table, catalogue: pa.Array, random: np.random.Generator) -> pa.Table:
    """Two thirds of the requests, every value of which is another one: items, people, texts, labels, scores, prices."""
    frame = rows.drop_columns("split").to_pandas()
    kept = random.permutation(frame.request_id.unique())[: max(1, frame.request_id.nunique() * 2 // 3)]
    frame = frame[frame.request_id.isin(kept)].copy()
    ids = catalogue.to_numpy()
    frame["item_id"] = frame.item_id.map(dict(zip(ids, random.permutation(ids), strict=True)))
    frame["history"] = [list(random.choice(ids, 5, replace=False))] * len(frame)
    frame["user_id"] = frame.user_id + 1_000_000
    frame["query"] = "tomorrow " + frame["query"]
    frame["timestamp"] = frame.timestamp.dt.floor("D") + (frame.timestamp - frame.timestamp.dt.floor("D")) / 2
    exposed = frame.stage == "exposed"
    frame["clicked"] = exposed & ~frame.clicked
    frame["ordered"] = frame.clicked & (random.random(len(frame)) < 0.5)
    frame["position"] = frame.groupby("request_id").position.transform(lambda p: p.max() + 1 - p)
    frame["rank_score"] = -7.0 * frame.rank_score
    frame["price"] = 3.0 * frame.price + 1.0
    frame["text_match"] = 1.0 - frame.text_match
    schema = pa.schema([rows.schema.field(name) for name in frame.columns])
    return pa.Table.from_pandas(frame, schema, preserve_index=False)


def test_only_the_log_is_used(simulated, from_contract):
    """Graph, psi, encoded columns and a fitted model are the same bytes without the simulator's files."""
    assert not (from_contract.log.folder / "world.json").exists()
    ours, theirs = simulated.learned(), from_contract.learned()
    assert len(ours) > 60
    assert different(ours, theirs) == []
    encoded = [dict(files_of(each.encoded_folder)) for each in (simulated, from_contract)]
    assert different(*encoded) == []


def test_the_commands_never_load_the_simulator():
    """What fits graph, psi and models does not even import it; only the reader does, once it is asked to simulate."""
    modules = ["graph.build", "pretrain.run", "prerank.fit", "prerank.evaluate", "index.audit", "index.report.page"]
    modules += [f"prerank.systems.{name}" for name in ("grace", "ple", "lightgbm", "popularity")]
    code = f"import sys, {', '.join(modules)}; print([m for m in sys.modules if m.startswith('graph.marketplace')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_encoded_column_comes_from_an_allowed_one(simulated):
    columns = simulated.encoded.schema.columns
    assert columns
    for column in columns:
        assert column.name in ALLOWED[column.source], f"{column.source}.{column.name} is no allowed feature"
        assert column.name not in OUTCOMES
    written = {path.name for path in simulated.encoded_folder.rglob("*") if path.is_file()}
    lists = {f"lists_{column.name}.npy" for column in columns if column.kind in ("list", "text")}
    rows = {f"{name}.npy" for name in ("item", "request", "clicked", "ordered", "position", "stage", "price")}
    rows |= {"rank_score.npy", "ids.npy", "numbers.npy", "list_length.npy", "item_hash.npy"}
    counts = {f"training_{name}.npy" for name in ("impressions", "clicks", "orders")}
    tables = {"schema.json", "manifest.json", "requests.parquet", "item_id.parquet"}
    assert written <= lists | rows | counts | tables


def item_latents(trained: Trained) -> dict[str, np.ndarray]:
    """Every latent of the written items, a number each, in the order of the log's items."""
    state = make_state(load_world("tiny"), 0)
    row = {item: place for place, item in enumerate(state.seen.catalogue.item_id.tolist())}
    rows = np.array([row[item] for item in trained.log.items()["item_id"].to_pylist()])
    count = len(state.seen.catalogue.item_id)
    return {
        f"{name}[{place}]": column[rows]
        for name, values in vars(state.items).items()
        if name not in NO_SECRET
        for place, column in enumerate(values.reshape(count, -1).T)
    }


def assert_nothing_tells(name: str, values: np.ndarray, latents: dict[str, np.ndarray], rows: np.ndarray) -> None:
    known = np.isfinite(values)
    for latent, hidden in latents.items():
        hidden = hidden[rows][known]
        if len(np.unique(values[known])) > 1 and len(np.unique(hidden)) > 1:
            assert abs(spearmanr(values[known], hidden).statistic) < 0.9, f"{name} tells {latent}"


def test_no_graph_weight_psi_or_encoded_number_tells_a_latent(simulated):
    latents = item_latents(simulated)
    assert {"quality[0]", "attention[0]"} <= latents.keys()
    for key, relation in simulated.graph.relations.items():
        for side, rows in (("target", relation.targets), ("source", relation.indices)):
            if key[2 if side == "target" else 0] == "item" and relation.edges > 2:
                assert_nothing_tells(f"weight of {key}", np.asarray(relation.weight), latents, np.asarray(rows))
    degree = simulated.graph.nodes("item")["degree"].to_numpy()
    every = np.arange(len(degree))
    assert_nothing_tells("degree", degree.astype(float), latents, every)
    covered = simulated.psi.rows_of(simulated.encoded.item_ids)
    for dimension, values in enumerate(np.asarray(simulated.psi.vectors).T):
        assert_nothing_tells(f"psi[{dimension}]", values[covered[covered >= 0]], latents, every[covered >= 0])
    for array in ("numbers", "ids"):
        for place, values in enumerate(np.load(simulated.encoded_folder / "items" / f"{array}.npy").T):
            assert_nothing_tells(f"item {array}[{place}]", values.astype(float), latents, every)
    item = np.load(simulated.encoded_folder / "train" / "item.npy")
    for place, values in enumerate(np.load(simulated.encoded_folder / "train" / "numbers.npy").T):
        assert_nothing_tells(f"pair numbers[{place}]", values.astype(float), latents, item)


def test_the_test_day_does_not_reach_training(from_contract, rerun):
    """Another test day altogether: graph, psi, encoded training rows, statistics, counts and weights stay the same."""
    day = last_day(from_contract, "test")

    def change(folder: Path) -> None:
        rows = pq.ParquetFile(day_file(folder, day)).read()
        catalogue = pq.read_table(folder / "items.parquet")["item_id"].combine_chunks()
        pq.write_table(changed_rows(rows, catalogue, np.random.default_rng(0)), day_file(folder, day))

    other = rerun("other_test_day", change)
    assert other.log.facts["splits"]["test"] != from_contract.log.facts["splits"]["test"]
    assert other.log.facts["splits"]["train"] == from_contract.log.facts["splits"]["train"]
    assert not other.log.facts["rejected"]
    test_rows = [dict(files_of(each.encoded_folder / "test")) for each in (from_contract, other)]
    assert len(different(*test_rows)) > 5
    assert different(from_contract.learned(), other.learned()) == []


def test_items_of_the_test_day_do_not_reach_training(from_contract, rerun):
    """What is listed after the training days may be called, priced and sold otherwise: training does not notice."""
    end = pc.strptime(last_day(from_contract, "test"), format="%Y-%m-%d", unit="ms")

    def change(folder: Path) -> None:
        frame = pq.read_table(folder / "items.parquet").to_pandas()
        new = frame.listed_at.dt.tz_localize(None) >= end.as_py()
        assert new.sum() > 5
        old = frame[~new]
        for name in ("title", "category", "brand", "shop"):
            frame.loc[new, name] = old[name].to_numpy()[np.arange(new.sum()) * 7 % len(old)]
        frame.loc[new, "price"] = 10.0 * frame.price[new]
        schema = pq.read_schema(folder / "items.parquet")
        pq.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), folder / "items.parquet")

    other = rerun("other_new_items", change)
    assert other.log.catalogue == from_contract.log.catalogue
    assert different(from_contract.learned(), other.learned()) == []


def test_a_training_row_reaches_everything(from_contract, rerun):
    """One click more on a training day changes all of it: the tests above can fail."""
    day = last_day(from_contract, "train")

    def change(folder: Path) -> None:
        rows = pq.ParquetFile(day_file(folder, day)).read()
        clicked = rows["clicked"].to_numpy().copy()
        clicked[np.flatnonzero((rows["stage"].to_numpy() == "exposed") & ~clicked)[0]] = True
        place = rows.column_names.index("clicked")
        pq.write_table(rows.set_column(place, "clicked", pa.array(clicked)), day_file(folder, day))

    changed = different(from_contract.learned(), rerun("one_click_more", change).learned())
    for part in ("graph/edges", "psi/vectors", "train/clicked", "counts/training_clicks", "weights/"):
        assert any(name.startswith(part) for name in changed), part
