"""Training psi end to end on a planted structure: it learns, resumes, induces, and refuses what cannot be trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch

from configs.errors import InputError
from configs.schema import Backend, Config, EvaluationConfig, GraphObjective, PretrainConfig
from graph.logs.log import SearchLog
from graph.store import Graph
from pretrain import training
from pretrain.embeddings import EmbeddingTable
from pretrain.node_features import node_features
from pretrain.pipeline import print_summary
from pretrain.psi import dealt_out, train_psi

Planted = tuple[SearchLog, Graph]


def config(backend: Backend = Backend.pyg, **changes: object) -> Config:
    wanted = PretrainConfig(
        dimension=8,
        hidden=16,
        fan_out=[4, 3],
        max_epochs=4,
        batch_size=64,
        learning_rate=0.01,
        validation_share=0.1,
        text_buckets=2000,
        text_dimension=8,
        threads=1,
    )
    return Config(backend=backend, pretrain=replace(wanted, **changes), evaluation=EvaluationConfig(draws=50))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("backend", list(Backend))
def test_beats_popularity_on_a_planted_structure(
    planted: Planted, backend: Backend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if backend is Backend.dgl:
        pytest.importorskip("dgl")
    log, graph = planted
    psi = train_psi(graph, log, config(backend, max_epochs=6), tmp_path / "pretrain").table
    found = json.loads((tmp_path / "pretrain" / "metrics.json").read_text())["validation"]
    assert set(found) == {"graphsage", "matrix_factorisation", "popularity", "random"}
    assert found["graphsage"]["mrr"]["value"] > 2 * found["popularity"]["mrr"]["value"]
    assert found["graphsage"]["mrr"]["low"] > found["random"]["mrr"]["high"]
    for method in found.values():
        for figure in method.values():
            assert set(figure) == {"value", "low", "high", "n"}
    topic = np.array([int(item.removeprefix("i")) % 8 for item in psi.ids.to_pylist()])
    similar = psi.vectors @ psi.vectors.T
    same = topic[:, None] == topic[None, :]
    assert similar[same].mean() > similar[~same].mean() + 0.3
    print_summary(tmp_path / "pretrain", psi)
    printed = capsys.readouterr().out
    assert "held-out query-item edges" in printed
    assert "matrix factorisation" in printed


def test_graphsage_objective_learns_too(planted: Planted, tmp_path: Path) -> None:
    log, graph = planted
    wanted = config(objective=GraphObjective.graphsage, temperature=0.2, max_epochs=40, patience=40, learning_rate=0.02)
    train_psi(graph, log, wanted, tmp_path / "pretrain")
    found = json.loads((tmp_path / "pretrain" / "metrics.json").read_text())["validation"]
    assert found["graphsage"]["mrr"]["value"] > 2 * found["popularity"]["mrr"]["value"]


def test_psi_covers_p_and_is_not_trained_twice(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, graph = planted
    folder = tmp_path / "pretrain"
    first = train_psi(graph, log, config(min_engagement=6, max_epochs=1), folder)
    rows = log.dataset().to_table(columns=["item_id"])["item_id"].value_counts().to_pylist()
    expected = {row["values"] for row in rows if row["counts"] >= 6}
    assert set(first.table.ids.to_pylist()) == expected
    assert first.table.catalogue == log.catalogue
    assert not (folder / "started.json").exists()
    monkeypatch.setattr("pretrain.psi.fit", None)
    again = train_psi(graph, log, config(min_engagement=6, max_epochs=1), folder)
    np.testing.assert_array_equal(again.table.vectors, first.table.vectors)
    every = np.arange(graph.node_counts["item"])
    np.testing.assert_array_equal(again.induce(every), first.induce(every))
    indices = first.table.rows_of(log.items()["item_id"])
    np.testing.assert_array_equal(first.induce(every)[indices >= 0], first.table.vectors[indices[indices >= 0]])


@pytest.mark.parametrize("backend", list(Backend))
def test_two_threads_give_the_same_psi_twice(planted: Planted, backend: Backend, tmp_path: Path) -> None:
    if backend is Backend.dgl:
        pytest.importorskip("dgl")
    # Large enough that torch splits the work: some 32,000 numbers in an operation.
    wanted = config(backend, threads=2, dimension=128, hidden=64, batch_size=512, max_epochs=3)
    once, again = (train_psi(*reversed(planted), wanted, tmp_path / name).table for name in ("once", "again"))
    assert once.vectors.tobytes() == again.vectors.tobytes()


def test_shuffled_rows_are_the_same_rows_at_other_items_of_p(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, graph = planted
    own = train_psi(graph, log, config(max_epochs=1), tmp_path / "own").table
    shuffled = train_psi(graph, log, config(max_epochs=1, shuffled=True), tmp_path / "shuffled").table
    assert "psi: shuffled" in capsys.readouterr().out
    assert shuffled.ids.equals(own.ids)
    assert not (shuffled.vectors == own.vectors).all(axis=1).any()
    np.testing.assert_array_equal(np.unique(shuffled.vectors, axis=0), np.unique(own.vectors, axis=0))


@pytest.mark.parametrize("items", [2, 3, 50])
def test_no_row_stays_and_the_seed_decides_where_it_goes(items: int) -> None:
    rows = np.arange(items, dtype=np.float32)[:, None]
    dealt = dealt_out(rows, seed=4)
    assert (dealt != rows).all()
    assert sorted(dealt[:, 0]) == list(range(items))
    np.testing.assert_array_equal(dealt, dealt_out(rows, seed=4))
    if items == 50:
        assert (dealt != dealt_out(rows, seed=5)).any()


@pytest.mark.parametrize("backend", list(Backend))
def test_a_killed_training_ends_like_an_uninterrupted_one(
    planted: Planted, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend is Backend.dgl:
        pytest.importorskip("dgl")
    log, graph = planted
    whole = train_psi(graph, log, config(backend), tmp_path / "whole").table
    epoch = training._epoch

    def killed(*arguments: object) -> float:
        if arguments[-1].epoch == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return epoch(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(training, "_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train_psi(graph, log, config(backend), tmp_path / "parts")
    with pytest.raises(InputError):
        EmbeddingTable.load(tmp_path / "parts" / "psi")
    saved = torch.load(tmp_path / "parts" / "checkpoints" / "last.pt", weights_only=True)
    assert saved["progress"]["epoch"] == 2
    resumed = train_psi(graph, log, config(backend), tmp_path / "parts").table
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    histories = [
        [
            {k: v for k, v in entry.items() if k != "seconds"}
            for entry in json.loads((tmp_path / name / "checkpoints" / "history.json").read_text())
        ]
        for name in ("whole", "parts")
    ]
    assert histories[0] == histories[1]


def test_another_setting_starts_over(planted: Planted, tmp_path: Path) -> None:
    log, graph = planted
    folder = tmp_path / "pretrain"
    train_psi(graph, log, config(max_epochs=1), folder)
    other = config(max_epochs=1, learning_rate=0.02)
    with pytest.raises(InputError, match=r"pretrain.learning_rate=0.01, asked for 0.02.*overwrite=true"):
        train_psi(graph, log, other, folder)
    train_psi(graph, log, replace(other, overwrite=True), folder)
    assert len(json.loads((folder / "checkpoints" / "history.json").read_text())) == 1


def test_stops_when_validation_no_longer_improves(planted: Planted, tmp_path: Path) -> None:
    log, graph = planted
    folder = tmp_path / "pretrain"
    train_psi(graph, log, config(max_epochs=60, patience=2, learning_rate=0.03), folder)
    history = json.loads((folder / "checkpoints" / "history.json").read_text())
    best = max(range(len(history)), key=lambda at: history[at]["validation_mrr"])
    assert len(history) == best + 1 + 2 < 60
    found = json.loads((folder / "metrics.json").read_text())
    assert found["best_epoch"] == best + 1
    assert found["validation"]["graphsage"]["mrr"]["value"] == pytest.approx(history[best]["validation_mrr"])


def test_hidden_items_are_induced_from_what_is_left(planted: Planted, tmp_path: Path) -> None:
    """Their titles name the topic, so they land near it although no engagement of theirs was seen."""
    log, graph = planted
    hidden = np.arange(0, 160, 10)
    trained = train_psi(graph, log, config(max_epochs=25, patience=25), tmp_path / "held", hidden)
    ids = log.items()["item_id"].combine_chunks()
    assert (trained.table.rows_of(ids.take(pa.array(hidden))) == -1).all()
    induced = trained.induce(hidden)
    assert induced.shape == (16, 8)
    np.testing.assert_allclose(np.linalg.norm(induced, axis=1), 1.0, rtol=1e-5)
    topic = np.array([int(item.removeprefix("i")) % 8 for item in trained.table.ids.to_pylist()])
    nearest = topic[np.argmax(induced @ trained.table.vectors.T, axis=1)]
    assert (nearest == hidden % 8).mean() > 0.5


def test_what_cannot_be_trained_is_said(planted: Planted, tmp_path: Path) -> None:
    log, graph = planted
    with pytest.raises(InputError, match=r"psi would cover 0 items.*lower it"):
        train_psi(graph, log, config(min_engagement=1e6), tmp_path / "none")
    with pytest.raises(InputError, match=r"loss of psi is nan.*learning_rate"):
        train_psi(graph, log, config(learning_rate=1e30), tmp_path / "diverged")


def test_a_damaged_checkpoint_is_refused(planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, graph = planted
    folder = tmp_path / "pretrain"
    with monkeypatch.context() as patched:
        patched.setattr("pretrain.psi._report", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_psi(graph, log, config(max_epochs=1), folder)
    (folder / "checkpoints" / "last.pt").write_bytes(b"half")
    with pytest.raises(InputError, match=r"last\.pt cannot be read"):
        train_psi(graph, log, config(max_epochs=1), folder)


def test_a_folder_from_before_the_empty_buckets_were_left_out(planted: Planted, tmp_path: Path) -> None:
    log, graph = planted
    wanted, folder = config(max_epochs=1), tmp_path / "pretrain"
    every = np.arange(graph.node_counts["item"])
    expected = train_psi(graph, log, wanted, folder).induce(every)
    path = folder / "checkpoints" / training.BEST
    parameters = training.read_parameters(path)
    buckets = node_features(graph, log, wanted.data, wanted.pretrain)["item"].buckets
    assert len(parameters["nodes.table.weight"]) == len(buckets) < 2000
    whole = torch.zeros(2000, 8)
    whole[torch.from_numpy(buckets)] = parameters["nodes.table.weight"]
    safetensors.torch.save_file(parameters | {"nodes.table.weight": whole}, path)
    np.testing.assert_array_equal(train_psi(graph, log, wanted, folder).induce(every), expected)


def test_training_says_how_far_it_is_where_the_output_is_a_file(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("configs.console.SECONDS_APART", 0.0)
    log, graph = planted
    train_psi(graph, log, config(max_epochs=2), tmp_path / "pretrain")
    lines = [line for line in capsys.readouterr().out.splitlines() if "pairs/s" in line]
    assert lines[0].startswith("psi, epoch 1 of at most 2: 1 of ")
    assert "best MRR" in lines[-1]
