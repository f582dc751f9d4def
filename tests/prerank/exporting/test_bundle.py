"""Whole bundles: what is in them, what a second export leaves alone, and what a killed one leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

from configs.command import Invocation, main, parse
from configs.errors import InputError
from configs.stages import Run, read_json, write_json
from prerank.encoding.batches import EncodedLog
from prerank.exporting.bundle import export_bundle
from prerank.serving.scorer import Scorer
from prerank.serving.tables import map_tensors

Export = Callable[..., Path]


@pytest.fixture(scope="session")
def export(market: Invocation, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Exports a system of the tiny market into a folder of its own, once for the same keys."""
    done: dict[tuple[str, ...], Path] = {}

    def make(*overrides: str) -> Path:
        if overrides not in done:
            folder = tmp_path_factory.mktemp("bundle") / "bundle"
            done[overrides] = export_bundle(request_of(market, f"export.folder={folder}", *overrides))
        return done[overrides]

    return make


def request_of(market: Invocation, *overrides: str) -> Invocation:
    return parse([f"runs_folder={market.run.root.parent}", "run=market", *overrides])


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("system", ["grace", "ple", "lightgbm", "popularity"])
def test_a_bundle_is_whole_and_its_golden_requests_pass(export: Export, market: Invocation, system: str) -> None:
    folder = export(f"model={system}")
    manifest = read_json(folder / "manifest.json")
    found = digests(folder)
    found.pop("manifest.json")
    assert {name: facts["sha256"] for name, facts in manifest["files"].items()} == found
    assert all((folder / name).stat().st_size == facts["bytes"] for name, facts in manifest["files"].items())
    assert (manifest["system"], manifest["name"], manifest["run"]) == (system, system, "market")
    assert manifest["simulated"] is True
    assert Scorer.load(folder) is not None
    requests = EncodedLog.open(market.run.encoded).schema.splits["test"]["requests"]
    assert manifest["golden"]["requests"] == min(requests, 100) == len(_golden(folder))


def _golden(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]


def test_golden_scores_are_those_that_the_system_was_evaluated_with(export: Export, market: Invocation) -> None:
    golden = _golden(export("model=grace"))
    predictions = pq.read_table(market.run.system("grace") / "predictions.parquet").to_pandas()
    test = predictions[predictions["split"] == "test"]
    by_request = [rows for _, rows in test.groupby("request", sort=True)]
    chosen = np.unique(np.linspace(0, len(by_request) - 1, min(len(by_request), 100)).astype(int))
    for request, place in zip(golden, chosen, strict=True):
        rows = by_request[place]
        assert request["body"]["candidates"]["item_id"] == rows["item_id"].tolist()
        np.testing.assert_allclose(request["score"], rows["score"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(1 / (1 + np.exp(-np.array(request["click"]))), rows["p_click"], rtol=1e-5)


def test_golden_requests_take_the_way_of_items_that_are_described(export: Export, tmp_path: Path) -> None:
    """The catalogue's vectors are ready: without such items nothing would look at what makes an item's vector."""
    folder = Path(shutil.copytree(export("model=grace"), tmp_path / "bundle"))
    assert all(len(request["body"]["items"]) == 1 for request in _golden(folder))
    model = onnx.load(folder / "item.onnx")
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2:
            tensor.raw_data = (2 * onnx.numpy_helper.to_array(tensor)).tobytes()
    (folder / "item.onnx").write_bytes(model.SerializeToString())
    manifest = read_json(folder / "manifest.json")
    changed = (folder / "item.onnx").read_bytes()
    manifest["files"]["item.onnx"] = {"bytes": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(InputError, match="golden request"):
        Scorer.load(folder)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_rounded_tables_score_as_promised_and_say_what_they_cost(export: Export, precision: str) -> None:
    folder, exact = export("model=grace", f"export.tables={precision}"), export("model=grace")
    tables = read_json(folder / "manifest.json")["tables"]
    assert tables["precision"] == precision
    assert {"auc_click", "gauc_click", "recall_at_10"} <= set(tables["loss"])
    figures = read_json(folder / "manifest.json")["tables"]["loss"]["auc_click"]
    assert figures["loss"] == figures["fp32"] - figures["stored"]
    assert Scorer.load(folder) is not None
    whole, rounded = (map_tensors(each / "items.safetensors")["vectors"] for each in (exact, folder))
    assert rounded.nbytes * {"fp16": 2, "int8": 4}[precision] == whole.nbytes
    for request, of_exact in zip(_golden(folder), _golden(exact), strict=True):
        assert request["score"] == of_exact["score"]
    assert any(request["score"] != request["score_stored"] for request in _golden(folder))
    assert precision in (folder / "model_card.md").read_text()


def test_the_loss_of_rounding_is_the_evaluations(export: Export, market: Invocation) -> None:
    loss = read_json(export("model=grace", "export.tables=int8") / "manifest.json")["tables"]["loss"]
    metrics = read_json(market.run.system("grace") / "metrics.json")["test"]["all"]
    for name, figures in loss.items():
        assert (figures["fp32"], figures["n"]) == (pytest.approx(metrics[name]["value"], abs=1e-9), metrics[name]["n"])


def test_nothing_in_a_bundle_is_pickled_or_names_a_path_of_this_machine(export: Export) -> None:
    folder = export("model=grace")
    for path in folder.iterdir():
        assert str(Path.cwd()).encode() not in path.read_bytes(), path.name
        if path.suffix == ".pt2":
            with zipfile.ZipFile(path) as archive:
                assert not [each.filename for each in archive.infolist() if _is_pickle(archive.read(each))]


def _is_pickle(content: bytes) -> bool:
    return content[:1] == b"\x80" or b"data.pkl" in content


def test_the_card_says_what_a_reader_must_know(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export("model=grace")
    card = (folder / "model_card.md").read_text()
    monkeypatch.chdir(folder)
    exec(card.split("```python\n")[1].split("```")[0])  # its example runs as it stands
    for words in ("simulated", "gauc_click", "95 % interval", "n = ", "grace-prerank[serve]", "test:", "Limits"):
        assert words in card


def test_items_lie_by_their_hash_with_attributes_beside_them(export: Export, market: Invocation) -> None:
    folder, encoded = export("model=grace"), EncodedLog.open(market.run.encoded)
    tensors, attributes = map_tensors(folder / "items.safetensors"), pq.read_table(folder / "item_attributes.parquet")
    assert (np.diff(tensors["hash"]) > 0).all()
    order = np.argsort(encoded.items.item_hash)
    assert attributes["item_id"].to_pylist() == encoded.item_ids.take(order).to_pylist()
    np.testing.assert_array_equal(tensors["impressions"], encoded.training_counts.impressions[order])
    assert tensors["in_p"].sum() == 400


def test_a_second_export_gives_the_same_bytes_but_for_its_time(
    export: Export, market: Invocation, tmp_path: Path
) -> None:
    first, again = (
        export("model=grace"),
        export_bundle(request_of(market, "model=grace", f"export.folder={tmp_path / 'b'}")),
    )
    ours, theirs = digests(first), digests(again)
    for each in (ours, theirs):
        each.pop("manifest.json")
    assert ours == theirs
    manifests = [read_json(folder / "manifest.json") for folder in (first, again)]
    for manifest in manifests:
        manifest.pop("written")
    assert manifests[0] == manifests[1]


def test_a_bundle_that_is_there_is_left_alone_and_another_one_is_not_replaced(
    export: Export, market: Invocation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(export("model=popularity"), tmp_path / "bundle"))
    before = digests(folder)
    place = f"export.folder={folder}"
    assert export_bundle(request_of(market, "model=popularity", place)) == folder
    assert "is exported already" in capsys.readouterr().out
    with pytest.raises(
        InputError, match=r"is another bundle: give export.folder=FOLDER to keep both, or overwrite=true"
    ):
        export_bundle(request_of(market, "model=lightgbm", place))
    assert digests(folder) == before
    export_bundle(request_of(market, "model=lightgbm", place, "overwrite=true"))
    assert read_json(folder / "manifest.json")["kind"] == "trees"
    assert not list(tmp_path.glob(".bundle*"))


@pytest.mark.parametrize("overwrite", ["overwrite=false", "overwrite=true"])
def test_a_folder_of_other_files_is_left_alone(market: Invocation, tmp_path: Path, overwrite: str) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds other files and is no bundle"):
        export_bundle(request_of(market, "model=popularity", f"export.folder={tmp_path}", overwrite))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_by_default_it_lies_in_the_run(market: Invocation) -> None:
    run = Run(Path("runs/r"))
    assert run.bundle("ple") == Path("runs/r/bundles/ple")
    assert export_bundle(request_of(market, "model=popularity")) == market.run.bundle("popularity")


def test_what_is_not_fitted_names_the_command(market: Invocation) -> None:
    with pytest.raises(InputError, match=r"run `python -m prerank.fit run=market model=esmm` first"):
        export_bundle(request_of(market, "model=esmm"))


@pytest.mark.parametrize("system", ["lightgbm", "popularity"])
def test_what_has_no_tables_is_not_rounded(market: Invocation, tmp_path: Path, system: str) -> None:
    with pytest.raises(InputError, match=f"export.tables=int8: model={system} has no embedding tables"):
        export_bundle(request_of(market, f"model={system}", "export.tables=int8", f"export.folder={tmp_path / 'b'}"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("export.tables=fp8", "export.tables"),
        ("export.table=fp16", "did you mean 'export.tables'"),
        ("model.dimension=8", "model.dimension"),
        ("prerank.threads=1", "prerank.threads"),
    ],
)
def test_a_wrong_key_is_refused(override: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("prerank.export", ["run=market", "model=ple", override]) == 2
    assert words in capsys.readouterr().err


KILLED = """
import os, signal, sys
from configs.command import main
from prerank.exporting import bundle
step, count = sys.argv[1], [0]
def killing(function):
    def called(*arguments, **named):
        if step == function.__name__:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return called
for name in ("write_items", "_manifest", "settle"):
    function = getattr(bundle, name)
    if name == "settle":  # the first call looks for what an earlier export left
        def settle(home, function=function):
            count[0] += 1
            if step == "settle" and count[0] == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            function(home)
        bundle.settle = settle
    else:
        setattr(bundle, name, killing(function))
sys.exit(main("prerank.export", sys.argv[2:]))
"""


@pytest.mark.parametrize("step", ["write_items", "_manifest", "settle"])
def test_a_killed_export_leaves_no_bundle_and_the_old_one_whole(
    export: Export, market: Invocation, tmp_path: Path, step: str
) -> None:
    place = [f"runs_folder={market.run.root.parent}", "run=market", "model=popularity"]
    old = Path(shutil.copytree(export("model=lightgbm"), tmp_path / "old"))
    before = digests(old)
    for folder in (tmp_path / "new", old):
        command = [sys.executable, "-c", KILLED, step, *place, f"export.folder={folder}", "overwrite=true"]
        ended = subprocess.run(command, capture_output=True, cwd=Path.cwd(), env={**os.environ}, timeout=120)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert not (tmp_path / "new").exists()
    assert digests(old) == before
    with pytest.raises(InputError):
        Scorer.load(tmp_path / ".new.next" if step != "settle" else tmp_path / "new")
    again = export_bundle(request_of(market, "model=popularity", f"export.folder={tmp_path / 'new'}"))
    assert Scorer.load(again) is not None
    assert not (tmp_path / ".new.next").exists()
