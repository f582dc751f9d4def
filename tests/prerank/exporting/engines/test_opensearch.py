"""An index of OpenSearch and its rerank recipe, held against the documented parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prerank.exporting.engines import Package, item_keys
from prerank.exporting.opensearch import RESERVED, pairs_in_documents, write_package
from prerank.serving.request import Request
from prerank.serving.scorer import Scorer
from tests.prerank.exporting.engines.conftest import FIRST_PHASE, IDS, VALUES

# Of the k-NN vector field, of methods and engines, and of field types (docs.opensearch.org, 3.x).
PARAMETERS = {
    "knn_vector": {"dimension", "method"},
    "keyword": {"ignore_above"},
    "date": {"format"},
    **{name: set() for name in ("text", "long", "unsigned_long", "double", "boolean", "binary")},
}
SPACES = {"faiss": {"l2", "innerproduct", "hamming", "cosinesimil"}, "lucene": {"l2", "cosinesimil", "innerproduct"}}
PYTHON = {
    "keyword": str,
    "text": str,
    "date": str,
    "binary": str,
    "long": int,
    "unsigned_long": int,
    "double": (int, float),
    "boolean": bool,
}


@pytest.fixture(scope="module")
def package(odd_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opensearch") / "package"
    write_package(odd_bundle, folder, FIRST_PHASE)
    return folder


def read(package: Path, name: str) -> Any:
    return json.loads((package / name).read_text(encoding="utf-8"))


def documents_of(package: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (package / "feed.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    actions, documents = lines[::2], lines[1::2]
    assert all(set(action) == {"index"} and set(action["index"]) == {"_index", "_id"} for action in actions)
    return {action["index"]["_id"]: document for action, document in zip(actions, documents, strict=True)}


def substituted(connector: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The body that ML Commons sends (HttpConnector.createPayload): each parameter, as JSON, for its placeholder."""
    (action,) = connector["actions"]
    filled = re.sub(r"\$\{parameters\.(\w+)\}", lambda each: json.dumps(parameters[each[1]]), action["request_body"])
    return dict(json.loads(filled))


def test_the_mapping_is_of_documented_parameters(package: Path):
    index = read(package, "index.json")
    assert index["settings"] == {"index": {"knn": True}}
    properties = index["mappings"]["properties"]
    for name, field in properties.items():
        assert set(field) - {"type"} <= PARAMETERS[field["type"]]
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
    vector = properties["item_vector"]
    assert vector["dimension"] == 4
    assert set(vector["method"]) == {"name", "engine", "space_type", "parameters"}
    assert vector["method"]["space_type"] in SPACES[vector["method"]["engine"]]
    assert 2 <= vector["method"]["parameters"]["m"] <= 100
    assert len(properties) == len(VALUES) + 2


def test_documents_are_of_the_mapping(package: Path):
    properties, documents = read(package, "index.json")["mappings"]["properties"], documents_of(package)
    assert {document["item_id"] for document in documents.values()} == set(IDS)
    for id_, document in documents.items():
        assert 1 <= len(id_.encode()) <= 512
        for name, value in document.items():
            if name == "item_vector":
                assert len(value) == 4
                continue
            for each in value if isinstance(value, list) else [value]:
                assert isinstance(each, PYTHON[properties[name]["type"]])
                assert type(each) is not bool or properties[name]["type"] == "boolean"
    long = next(id_ for id_, document in documents.items() if document["item_id"] == "x" * 600)
    assert long == item_keys(["x" * 600], "text")[0]
    first = next(document for document in documents.values() if document.get("title") == "red shoes")
    assert first["seen"] == "2024-01-31T10:00:00.000005Z"
    assert first["listed"] == "2024-02-29"
    assert first["huge"] == 2**64 - 1
    assert (first["flags"], first["tags"], first["cost"]) == ([True, False], ["a", "b"], 1.25)


def test_the_connector_asks_for_scores_and_the_pipeline_sorts_by_them(odd_bundle: Path, package: Path):
    connector, (inference, rerank) = (
        read(package, "connector.json"),
        read(package, "pipeline.json")["response_processors"],
    )
    (action,) = connector["actions"]
    assert (connector["protocol"], action["action_type"], action["method"]) == ("http", "predict", "POST")
    endpoint = action["url"].replace("${parameters.endpoint}", connector["parameters"]["endpoint"])
    assert endpoint.endswith("/score")
    (trusted,) = read(package, "cluster.json")["persistent"]["plugins.ml_commons.trusted_connector_endpoints_regex"]
    assert re.fullmatch(trusted, endpoint)
    (inputs,), (outputs,) = inference["ml_inference"]["input_map"], inference["ml_inference"]["output_map"]
    assert set(re.findall(r"\$\{parameters\.(\w+)\}", action["request_body"])) == set(inputs)
    assert outputs == {rerank["rerank"]["by_field"]["target_field"]: "score"}
    search = read(package, "search.json")
    assert inputs.pop("request") == "$._request.ext.ml_inference.request"

    # As the processor does it: one list for each field, of all hits in their order.
    hits = list(documents_of(package).values())
    body = substituted(
        connector,
        {name: [hit[field] for hit in hits] for name, field in inputs.items()}
        | {"request": search["ext"]["ml_inference"]["request"]},
    )
    scored = Scorer.load(odd_bundle, threads=1).score(Request(body["request"], body["candidates"]))
    assert len(scored.score) == len(IDS)
    assert set(body["candidates"]) == {"item_id", "price"}
    assert "candidates.price" not in scored.missing
    expected = [
        Scorer.load(odd_bundle, threads=1).score(
            Request(body["request"], {"item_id": [hit["item_id"]], "price": [hit["price"]]})
        )
        for hit in hits
    ]
    np.testing.assert_allclose(scored.score, [each.score[0] for each in expected], rtol=1e-5)


def test_a_pair_column_is_sent_only_if_every_item_has_it(
    odd_bundle: Path, bundle_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    assert pairs_in_documents(Package(odd_bundle, RESERVED)) == {"price": "price"}
    monkeypatch.setitem(VALUES, "price", (VALUES["price"][0], [None, *VALUES["price"][1][1:]], ("number",)))
    assert pairs_in_documents(Package(bundle_of(), RESERVED)) == {}


def test_the_search_is_by_the_direction_or_by_all_of_two_towers(
    package: Path, bundle_of: Callable[..., Path], tmp_path: Path
):
    assert read(package, "search.json")["query"]["knn"]["item_vector"]["vector"] == FIRST_PHASE["direction"]
    write_package(bundle_of(), tmp_path / "package", FIRST_PHASE | {"direction": None})
    assert read(tmp_path / "package", "search.json")["query"] == {"match_all": {}}


def test_the_readme_names_what_is_not_sent_and_that_no_server_was_asked(package: Path):
    readme = (package / "README.md").read_text(encoding="utf-8")
    assert "has: `price`. Not sent, and so scored as missing: `offer`" in readme
    assert "Never run on OpenSearch" in readme
    assert "$HOST/_bulk" in readme
    assert all(f"| {column} |" in readme for column in VALUES)


@pytest.mark.parametrize("ids", [[7, -3, 2**40], [2**64 - 1, 5, 0], ["", "a"]], ids=["whole", "unsigned", "empty"])
def test_ids_of_other_kinds(ids: list[Any], bundle_of: Callable[..., Path], tmp_path: Path):
    bundle = bundle_of(ids=ids)
    write_package(bundle, tmp_path / "package", FIRST_PHASE)
    documents = documents_of(tmp_path / "package")
    assert {document["item_id"] for document in documents.values()} == set(ids)
    assert all(documents)
    kind = read(tmp_path / "package", "index.json")["mappings"]["properties"]["item_id"]["type"]
    assert kind == {7: "long", 2**64 - 1: "unsigned_long", "": "keyword"}[ids[0]]
