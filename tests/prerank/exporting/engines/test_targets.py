"""Packages beside their bundle."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from configs.command import Invocation, parse
from configs.errors import InputError
from configs.schema.prerank import ExportTarget
from prerank.exporting.bundle import export_bundle
from prerank.exporting.targets import write_target
from tests.prerank.exporting.engines.conftest import write_manifest
from tests.prerank.exporting.engines.test_vespa import check_scores, feed_of

SOURCE: Any = SimpleNamespace(fitted=None)


@pytest.mark.parametrize("target", [ExportTarget.vespa, ExportTarget.opensearch])
def test_a_package_lies_beside_its_bundle_and_is_replaced_whole(target: ExportTarget, bundle_of: Any):
    bundle = bundle_of()
    folder = write_target(SOURCE, bundle, target)
    assert folder == bundle.with_name(f"bundle-{target.value}")
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "feed.jsonl").write_text("{}")
    (folder / "of an older version").write_text("")
    assert write_target(SOURCE, bundle, target) == folder
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["bundle", folder.name]
    assert json.loads((folder / "first_phase.json").read_text()) == {"direction": None, "recall": {}}


def test_what_is_no_package_is_not_replaced(bundle_of: Any):
    bundle: Path = bundle_of()
    other = bundle.with_name("bundle-vespa")
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files and is no package"):
        write_target(SOURCE, bundle, ExportTarget.vespa)
    assert (other / "thesis.txt").read_text() == "mine"


def test_a_refused_bundle_leaves_nothing(bundle_of: Any):
    bundle: Path = bundle_of()
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"kind": "trees"}))
    with pytest.raises(InputError, match="has no item vectors"):
        write_target(SOURCE, bundle, ExportTarget.opensearch)
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_network_that_sees_no_item_column_is_refused(bundle_of: Any):
    bundle: Path = bundle_of()
    items = load_file(bundle / "items.safetensors")
    save_file(items | {"vectors": items["vectors"][:, :0]}, bundle / "items.safetensors")
    write_manifest(bundle, "network")
    with pytest.raises(InputError, match="sees no item column"):
        write_target(SOURCE, bundle, ExportTarget.vespa)


def test_a_fitted_system_becomes_a_package_whose_second_phase_scores_as_it_does(market: Invocation, tmp_path: Path):
    place = [f"runs_folder={market.run.root.parent}", "run=market", "model=grace"]
    folder = export_bundle(parse([*place, f"export.folder={tmp_path / 'bundle'}", "export.target=vespa"]))
    assert folder == tmp_path / "bundle-vespa"
    assert check_scores(tmp_path / "bundle", folder, requests=5, most=10) > 20
    measured = json.loads((folder / "first_phase.json").read_text())
    assert len(measured["direction"]) == len(next(iter(feed_of(folder)))["fields"]["item_vector"])
    assert measured["recall"]["10"]["recall"] > measured["recall"]["10"]["chance"]
    again = export_bundle(parse([*place, f"export.folder={tmp_path / 'bundle'}", "export.target=opensearch"]))
    assert (again / "feed.jsonl").exists()
