"""A bundle is read only if it is whole and unchanged, and meets its golden requests; what is wrong is named."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from configs.errors import InputError
from prerank.serving.bundle import Bundle
from prerank.serving.network import Network, Threads
from prerank.serving.scorer import Scorer
from tests.prerank.serving.conftest import write_manifest

FILES = (
    "features.json",
    "fusion.json",
    "golden.jsonl",
    "item.onnx",
    "items.safetensors",
    "network.onnx",
    "tables.safetensors",
)


@pytest.fixture
def folder(hand_bundle: Any, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(hand_bundle.folder, tmp_path / "bundle"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the manifest says."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        Scorer.load(folder)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_all_files_are_listed(hand_bundle: Any) -> None:
    bundle = Bundle.open(hand_bundle.folder)
    assert sorted(bundle.manifest["files"]) == list(FILES)
    assert bundle.kind == "network"
    assert "network.onnx" in bundle
    with pytest.raises(InputError, match=r"holds no click\.txt"):
        bundle.path("click.txt")


@pytest.mark.parametrize("name", FILES)
def test_a_changed_missing_or_longer_file_is_named(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    middle = len(content) // 2
    (folder / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    refused(folder, name, "was changed", "SHA-256")
    (folder / name).write_bytes(content + b" ")
    refused(folder, name, "was changed", "bytes")
    (folder / name).unlink()
    refused(folder, name, "is missing")


def test_what_is_not_in_the_manifest_is_named(folder: Path) -> None:
    (folder / "extra.pkl").write_bytes(b"")
    refused(folder, "extra.pkl", "is not in the bundle's manifest")
    (folder / "extra.pkl").unlink()
    (folder / "more").mkdir()
    refused(folder, "more", "is not in the bundle's manifest")


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "fusion.json").rename(tmp_path / "fusion.json")
    (folder / "fusion.json").symlink_to(tmp_path / "fusion.json")
    refused(folder, "fusion.json", "is no ordinary file")


@pytest.mark.parametrize("name", ["../outside", "a/b", "/etc/passwd", "..", ".", "", "manifest.json", "a\\b", "a\0b"])
def test_names_that_leave_the_folder_are_refused(name: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"")
    edit(folder, lambda manifest: manifest["files"].update({name: {"bytes": 0, "sha256": ""}}))
    refused(folder, "manifest.json", "expected plain names")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest.pop("format"), ["is no bundle's manifest"]),
        (lambda manifest: manifest.update(format=2), ["format 2", "reads 1"]),
        (lambda manifest: manifest.update(format=True), ["format True", "reads 1"]),
        (lambda manifest: manifest.update(kind="magic"), ["'magic'", "two_towers"]),
        (lambda manifest: manifest.pop("files"), ["does not name the bundle's files"]),
        (lambda manifest: manifest["files"].update({"network.onnx": 3}), ["does not name the bundle's files"]),
        (lambda manifest: manifest["files"].pop("features.json"), ["features.json", "is not in the bundle's manifest"]),
        (lambda manifest: manifest.update(golden={"requests": 4, "tolerance": 1e-5}), ["golden.jsonl", "3", "4"]),
        (lambda manifest: manifest.pop("golden"), ["golden"]),
        (lambda manifest: manifest["golden"].update(tolerance=float("inf")), ["golden", "tolerance of inf"]),
        (lambda manifest: manifest["golden"].update(tolerance=float("nan")), ["golden", "tolerance of nan"]),
    ],
)
def test_a_manifest_that_cannot_be_read(change: Any, words: list[str], folder: Path) -> None:
    edit(folder, change)
    refused(folder, *words)


def test_no_bundle_at_all(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "is no bundle", "prerank.export")
    refused(folder / "fusion.json", "is no bundle")
    (folder / "manifest.json").write_text("{")
    refused(folder, "manifest.json", "is damaged")
    (folder / "manifest.json").write_text("[" * 100_000)
    refused(folder, "manifest.json", "is damaged")
    (folder / "manifest.json").write_text("[]")
    refused(folder, "is no bundle's manifest")


@pytest.mark.parametrize("name", ["features.json", "fusion.json", "network.onnx", "items.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\x80\x04K\x01.", b'{"format": 7}', b"[" * 100_000])
def test_a_damaged_file_that_the_manifest_agrees_with(name: str, content: bytes, folder: Path) -> None:
    """As a faulty exporter would leave it: an error of one line that names it, whatever it holds."""
    (folder / name).write_bytes(content)
    write_manifest(folder)
    with pytest.raises(InputError, match=name if name != "items.safetensors" else "items.safetensors|hash"):
        Scorer.load(folder)


@pytest.mark.parametrize("name", ["golden.jsonl", "tables.safetensors"])
def test_values_nested_without_end(name: str, folder: Path) -> None:
    nested = b"[" * 100_000
    (folder / name).write_bytes(nested if name == "golden.jsonl" else len(nested).to_bytes(8, "little") + nested)
    write_manifest(folder)
    refused(folder, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda features: features["item_id"].update(type="date"),
        lambda features: features.update(heads=["click", "like"]),
        lambda features: features["sides"].pop("item"),
    ],
)
def test_features_that_this_version_cannot_score(change: Callable[[dict[str, Any]], object], folder: Path) -> None:
    features = json.loads((folder / "features.json").read_bytes())
    change(features)
    (folder / "features.json").write_text(json.dumps(features))
    write_manifest(folder)
    refused(folder, "features.json is damaged")


def test_parts_that_do_not_fit_each_other(folder: Path) -> None:
    features = json.loads((folder / "features.json").read_bytes())
    features["sides"]["pair"]["output"] = 10
    (folder / "features.json").write_text(json.dumps(features))
    write_manifest(folder)
    refused(folder, "network.onnx takes a pair side of 9, features.json says 10")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value of a JSON document lies."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def test_every_value_of_the_features_may_be_another(folder: Path) -> None:
    """An error that can be read, or a bundle that meets its golden requests all the same; never a traceback."""
    content = (folder / "features.json").read_text()
    wrongs = (None, -1, 10**9, "item", [])
    outcomes = Counter[str]()
    for number, path in enumerate(list(places(json.loads(content)))[1:]):
        features = json.loads(content)
        reduce(getitem, path[:-1], features)[path[-1]] = wrongs[number % len(wrongs)]
        (folder / "features.json").write_text(json.dumps(features))
        write_manifest(folder)
        try:
            Scorer.load(folder, threads=1)
            outcomes["read"] += 1
        except InputError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 2 * outcomes["read"]


def test_golden_requests_are_scored(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]
    lines[1]["score"][2] += 2e-5
    (folder / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_manifest(folder)
    refused(folder, "golden request 1", "candidate 2", "2e-05")
    Scorer.load(folder, verify=False)
    # Where tables are rounded, what is stored is to be met, not what was rounded.
    lines[1]["score_stored"] = [*lines[1]["score"]]
    lines[1]["score_stored"][2] -= 2e-5
    (folder / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_manifest(folder)
    Scorer.load(folder)
    lines[1]["score_stored"][0] = float("nan")
    (folder / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_manifest(folder)
    refused(folder, "golden request 1")


def test_a_bundle_stays_readable_when_its_folder_is_replaced(folder: Path, tmp_path: Path) -> None:
    scorer = Scorer.load(folder)
    folder.rename(tmp_path / "old")
    shutil.rmtree(tmp_path / "old")
    from prerank.serving.request import Request

    assert np.isfinite(scorer.score(Request({}, {"item_id": ["item 1", "new"]})).score).all()


def test_weights_outside_the_model_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX may keep tensors in other files, by a path of the model's choosing, also beside where the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(np.zeros((64, 64), np.float32).tobytes())
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[64, 64], data_location=TensorProto.EXTERNAL)
    for location in ("secret", "./secret", f"../{tmp_path.name}/secret", str(tmp_path / "secret")):
        del outside.external_data[:]
        outside.external_data.add(key="location", value=location)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in ("x", "y")]
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [outside]
        )
        content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        with pytest.raises(InputError, match=r"bad\.onnx is no network"):
            Network(onnx.ModelProto.SerializeToString(content), "bad.onnx", Threads(1))
