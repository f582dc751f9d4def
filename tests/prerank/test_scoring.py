"""A new log is scored without labels: the very scores of an evaluation, φ of all its items, for every system."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import main, parse, save
from configs.errors import InputError
from configs.stages import read_json
from prerank import score_log
from prerank.fitting import fit_system
from prerank.loading import load_system
from pretrain.embeddings import EmbeddingTable
from tests.prerank.conftest import random_log

SYSTEMS = ("ple", "lightgbm", "popularity", "dssm")
SMALL = ("model.experts.hidden=[8]", "model.experts.tower=[4]", "prerank.max_epochs=1", "model.lightgbm.trees=5")


def contract_form(source, folder, change=lambda table: table):
    """A checked log as a user would hand it in."""
    for file in source.glob("impressions/*/*.parquet"):
        path = folder / file.relative_to(source)
        path.parent.mkdir(parents=True)
        pq.write_table(change(pq.read_table(file).drop_columns(["split"])), path)
    shutil.copy(source / "items.parquet", folder)
    return folder


def without_labels(table):
    return table.drop_columns(["clicked", "ordered"])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run with four systems, and its log as it came."""
    root = tmp_path_factory.mktemp("scoring")
    common = [f"runs_folder={root}", "run=one"]
    invocation = parse([*common, "data=contract", f"data.path={root / 'log'}", "data.cutoffs=[3,5]"])
    save(invocation.config, invocation.run.config)
    random_log(invocation.run.logs, n_items=50, n_requests=40, rows_per_request=12)
    contract_form(invocation.run.logs, root / "log")
    contract_form(invocation.run.logs, root / "bare", without_labels)
    for system in SYSTEMS:
        sections = [key for key in SMALL if key.split(".")[1] != "experts" or system == "ple"]
        sections = [key for key in sections if key.split(".")[1] != "lightgbm" or system == "lightgbm"]
        fit_system(parse([*common, f"model={system}", "evaluation.draws=10", *sections]))
    return root, common


@pytest.mark.parametrize("system", SYSTEMS)
def test_scores_are_those_of_the_evaluation(fitted, tmp_path, system):
    root, common = fitted
    asked = [*common, f"model={system}", "data=contract", f"data.path={root / 'bare'}", f"score.folder={tmp_path}"]
    assert main("prerank.score", asked) == 0
    scored = pq.read_table(tmp_path / "predictions.parquet")
    assert not {"clicked", "ordered", "split"} & set(scored.column_names)
    expected = pq.read_table(root / "one" / "prerank" / system / "predictions.parquet")
    both = expected.to_pandas().merge(scored.to_pandas(), on=["request_id", "item_id"], suffixes=("", "_scored"))
    assert len(both) == len(expected)
    assert len(scored) == 480
    for column in ("p_click", "p_order", "p_rank", "score", "position", "stage", "query"):
        if expected[column].null_count < len(expected):
            values, own = both[f"{column}_scored"], both[column]
            if column in ("stage", "query"):
                assert (values.astype(str) == own.astype(str)).all()
            else:
                np.testing.assert_allclose(values, own, rtol=0, atol=1e-6)
    assert {each["column"] for each in read_json(tmp_path / "unseen.json")} >= {"item_id", "brand", "query"}
    loaded = load_system(parse([*common, f"model={system}"]))
    vectors = loaded.item_vectors()
    assert (tmp_path / "phi").exists() == (vectors is not None)
    if vectors is not None:
        np.testing.assert_array_equal(EmbeddingTable.load(tmp_path / "phi").vectors, vectors)


def test_new_items_are_scored_and_have_a_phi(fitted, tmp_path):
    root, common = fitted
    log = contract_form(root / "one" / "logs", tmp_path / "log", without_labels)
    items = pq.read_table(log / "items.parquet")
    new = items.set_column(0, "item_id", pa.array([f"new {number}" for number in range(len(items))]))
    pq.write_table(pa.concat_tables([items, new]), log / "items.parquet")
    path = min(log.glob("impressions/*/*.parquet"))
    rows = pq.read_table(path)
    place = rows.schema.get_field_index("item_id")
    names = pa.array([f"new {value.split()[1]}" for value in rows["item_id"].to_pylist()])
    pq.write_table(rows.set_column(place, "item_id", names), path)
    folder = score_log(parse([*common, "model=ple", "data=contract", f"data.path={log}"]))
    scores = pq.read_table(folder / "predictions.parquet")["score"].to_numpy()
    assert np.isfinite(scores).all()
    phi = EmbeddingTable.load(folder / "phi")
    assert len(phi) == 100
    assert np.isfinite(phi.vectors).all()
    assert sum(value.startswith("new") for value in phi.ids.to_pylist()) == 50


def test_labels_that_are_not_known_yet_may_be_null(fitted, tmp_path):
    root, common = fitted

    def change(table):
        known = pa.array([True, *[None] * (len(table) - 1)])
        return table.set_column(table.schema.get_field_index("clicked"), "clicked", known)

    log = contract_form(root / "one" / "logs", tmp_path / "log", change)
    folder = score_log(parse([*common, "model=popularity", "data=contract", f"data.path={log}"]))
    assert pq.read_metadata(folder / "predictions.parquet").num_rows == 480


def test_a_log_must_be_named_and_the_folder_be_none_of_a_file(fitted, tmp_path):
    _, common = fitted
    with pytest.raises(InputError, match=r"needs a new log: give data=\.\.\. data\.path"):
        score_log(parse([*common, "model=ple"]))
    root, _ = fitted
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"score\.folder=.*file is a file"):
        score_log(parse([*common, "model=ple", f"data.path={root / 'bare'}", f"score.folder={tmp_path / 'file'}"]))


def test_a_folder_holds_no_phi_of_another_system(fitted, tmp_path):
    root, common = fitted
    for system, there in (("ple", True), ("popularity", False)):
        score_log(parse([*common, f"model={system}", f"data.path={root / 'bare'}", f"score.folder={tmp_path}"]))
        assert (tmp_path / "phi").exists() == there
