"""An application package of Vespa, held against Vespa's rules and evaluated from its own files."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import onnx
import pytest

from configs.errors import InputError
from prerank.exporting.engines import RequestSides
from prerank.exporting.vespa import document_id, query_tensors, vespa_model, write_package
from prerank.serving.request import Request
from tests.prerank.exporting.engines.conftest import FIRST_PHASE, IDS, VALUES
from tests.prerank.exporting.engines.vespa_rules import Evaluator, Schema, parse_schema, type_of

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def package(odd_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vespa") / "package"
    write_package(odd_bundle, folder, FIRST_PHASE)
    return folder


def schema_of(package: Path) -> Schema:
    return parse_schema((package / "application" / "schemas" / "item.sd").read_text(encoding="utf-8"))


def feed_of(package: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (package / "feed.jsonl").read_text(encoding="utf-8").splitlines()]


def evaluator_of(package: Path) -> Evaluator:
    schema = schema_of(package)
    return Evaluator(schema, (package / "application" / schema.model["file"]).read_bytes())


def golden_of(bundle: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bundle / "golden.jsonl").read_text().splitlines()]


def check_scores(bundle: Path, package: Path, towers: bool = False, requests: int = 3, most: int = 1_000) -> int:
    """Evaluate the second phase for golden requests; return how many documents were scored."""
    evaluator, sides = evaluator_of(package), RequestSides(bundle, verify=False)
    documents = {unquote(put["put"].split("::", 1)[1]): put["fields"] for put in feed_of(package)}
    scored = 0
    for golden in golden_of(bundle)[:requests]:
        request = Request(golden["body"]["request"], golden["body"]["candidates"])
        evaluator.set_query(query_tensors(sides, request, towers))
        scores = golden.get("score_stored", golden["score"])
        for item_id, score in list(zip(request.candidates["item_id"], scores, strict=True))[:most]:
            if str(item_id) not in documents:  # an item that came after the catalogue
                continue
            evaluator.set_document(documents[str(item_id)])
            relevance = float(evaluator.evaluate(evaluator.schema.phases["second-phase"]).dense)
            assert relevance == pytest.approx(score, abs=TOLERANCE, rel=TOLERANCE)
            scored += 1
    return scored


def test_the_second_phase_gives_the_golden_scores(odd_bundle: Path, package: Path):
    assert check_scores(odd_bundle, package) == 10 + 9 + 8


def test_the_examples_are_queries_with_the_scores_to_expect(package: Path):
    evaluator = evaluator_of(package)
    documents = {put["fields"]["item_key"].popitem()[0]: put for put in feed_of(package)}
    assert len(documents) == len(IDS)
    for number in (1, 2, 3):
        query = json.loads((package / "examples" / f"query_{number}.json").read_text())
        expected = json.loads((package / "examples" / f"expected_{number}.json").read_text())["scores"]
        assert query["ranking"] == "prerank"
        assert query["yql"].startswith("select item_id from item where item_id in (")
        assert query["hits"] == len(expected)
        evaluator.set_query({name: value for name, value in query.items() if name.startswith("input.")})
        assert [each["item_id"] for each in expected] == IDS[number - 1 :]


def test_a_document_whose_pair_is_not_named_is_scored_as_a_pair_of_which_nothing_is_known(
    odd_bundle: Path, package: Path
):
    evaluator, sides = evaluator_of(package), RequestSides(odd_bundle)
    fields = next(put["fields"] for put in feed_of(package) if put["put"] == document_id("plain"))
    scores = []
    for candidates in ({"item_id": ["plain"]}, {"item_id": ["{}"], "offer": ["a"], "price": [3.0]}):
        evaluator.set_query(query_tensors(sides, Request({"query": "q"}, candidates), towers=False))
        evaluator.set_document(fields)
        scores.append(float(evaluator.evaluate(evaluator.schema.phases["second-phase"]).dense))
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    evaluator.set_query({})
    evaluator.set_document(fields)
    sides_of_nothing = query_tensors(sides, Request({}, {"item_id": ["plain"]}), towers=False)
    alone = float(evaluator.evaluate(evaluator.schema.phases["second-phase"]).dense)
    evaluator.set_query(sides_of_nothing)
    assert float(evaluator.evaluate(evaluator.schema.phases["second-phase"]).dense) == pytest.approx(alone, abs=1e-6)


def test_the_first_phase_is_the_inner_product_with_the_direction(package: Path):
    evaluator = evaluator_of(package)
    evaluator.set_query({})
    fields = feed_of(package)[0]["fields"]
    evaluator.set_document(fields)
    dot = float(evaluator.evaluate(evaluator.schema.phases["first-phase"]).dense)
    assert dot == pytest.approx(np.dot(fields["item_vector"], FIRST_PHASE["direction"]), rel=1e-5)


def test_every_fed_value_is_of_its_declared_field_and_type(package: Path):
    schema, puts = schema_of(package), feed_of(package)
    python = {"string": str, "long": int, "double": (int, float), "bool": bool, "raw": str, "byte": int}
    for put in puts:
        assert set(put) == {"put", "fields"}
        assert re.fullmatch(r"id:catalogue:item::[A-Za-z0-9_.~%-]+", put["put"])
        for name, value in put["fields"].items():
            type_ = schema.fields[name]
            if type_.startswith("tensor"):
                continue  # the evaluator checks them
            many = re.fullmatch(r"array<(.+)>", type_)
            values, single = (value, many[1]) if many else ([value], type_)
            assert isinstance(values, list)
            assert all(type(each) is bool or single != "bool" for each in values)
            assert all(isinstance(each, python[single]) for each in values)
            assert all(single not in ("long", "byte") or abs(each) < 2**63 for each in values)
            assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "".join(map(str, values)))
    assert sorted(unquote(put["put"].split("::", 1)[1]) for put in puts) == sorted(IDS)


def test_what_columns_become(package: Path):
    schema = schema_of(package)
    documents = [put["fields"] for put in feed_of(package)]
    first = next(fields for fields in documents if fields.get("title") == "red shoes")
    assert first["seen"] == 1706695200000005
    assert first["listed"] == 19782
    assert first["cost"] == 1.25
    assert first["huge"] == str(2**64 - 1)
    assert first["tags"] == ["a", "b"]
    assert first["flags"] == [1, 0]
    assert first["sizes"] == [1, 2]
    assert first["blob"] == "AP8="
    assert first["preis_kg"] == 0.1
    assert schema.indexing["title"] == ["index", "summary"]
    assert schema.fieldset == ["title"]
    assert {"position", "select", "Brand"}.isdisjoint(schema.fields)
    missing = next(fields for fields in documents if "title" not in fields)
    assert {"preis_kg", "tags", "c_position", "c_2nd", "title"}.isdisjoint(missing)
    assert len(schema.fields) == len(VALUES) + 3


def test_the_model_takes_what_the_profile_gives(package: Path):
    schema = schema_of(package)
    model = onnx.load(package / "application" / schema.model["file"])
    assert {each.name for each in model.graph.input} == set(schema.model["inputs"])
    assert {each.name for each in model.graph.output} == set(schema.model["outputs"])
    for each in (*model.graph.input, *model.graph.output):
        assert each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert all(dimension.dim_value > 0 for dimension in each.type.tensor_type.shape.dim)
    for name, source in schema.model["inputs"].items():
        if source.startswith("query"):
            shape = [
                dimension.dim_value
                for dimension in next(
                    each for each in model.graph.input if each.name == name
                ).type.tensor_type.shape.dim
            ]
            indexed, mapped = type_of(schema.inputs[name][0])
            assert (list(indexed.values()), mapped) == (shape, None)


# Elements and attributes after services.rnc, containercluster.rnc and content.rnc of config-model.
ALLOWED = {
    "services": ({"version"}, {"container", "content"}),
    "container": ({"version", "id"}, {"search", "document-api", "nodes"}),
    "search": (set(), set()),
    "document-api": (set(), set()),
    "content": ({"version", "id"}, {"min-redundancy", "documents", "nodes"}),
    "min-redundancy": (set(), set()),
    "documents": (set(), {"document"}),
    "document": ({"type", "mode"}, set()),
    "nodes": (set(), {"node"}),
    "node": ({"hostalias", "distribution-key"}, set()),
}


def test_services_and_query_profiles(package: Path):
    application = package / "application"
    root = ElementTree.parse(application / "services.xml").getroot()
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
    (document,) = root.iter("document")
    assert document.attrib == {"type": "item", "mode": "index"}
    profile = ElementTree.parse(application / "search" / "query-profiles" / "default.xml").getroot()
    types = ElementTree.parse(application / "search" / "query-profiles" / "types" / "root.xml").getroot()
    assert (profile.tag, profile.attrib) == ("query-profile", {"id": "default", "type": "root"})
    assert (types.tag, types.attrib) == ("query-profile-type", {"id": "root", "inherits": "native"})
    declared = {each.attrib["name"]: each.attrib["type"] for each in types}
    inputs = schema_of(package).inputs
    assert declared == {f"ranking.features.query({name})": type_ for name, (type_, _) in inputs.items()}


def test_the_readme_names_every_column_and_says_that_no_server_was_asked(package: Path):
    readme = (package / "README.md").read_text(encoding="utf-8")
    assert all(f"| {column} |" in readme for column in VALUES)
    assert "Never run on Vespa" in readme
    assert "$" not in readme


@pytest.mark.parametrize("kind", ["trees", "popularity"])
def test_a_bundle_without_a_network_is_refused(kind: str, bundle_of: Callable[..., Path], tmp_path: Path):
    with pytest.raises(InputError, match=f"holds {kind}, which has no item vectors"):
        write_package(_said_to_be(bundle_of(), kind), tmp_path / "package", FIRST_PHASE)


def _said_to_be(bundle: Path, kind: str) -> Path:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"kind": kind}))
    return bundle


@pytest.mark.parametrize(
    "options",
    [
        {"heads": ("click",)},
        {"heads": ("order", "rank"), "columns": ()},
        {"sides": ("item",), "heads": ("click",)},
        {"sides": ("item", "request")},
        {"sides": ("item", "pair"), "columns": ("price",)},
        {"ids": [7, -3, 2**40, 0]},
        {"ids": ["only one"]},
        {"ids": [2**64 - 1, 5, 0]},
        {"ids": ["", "${parameters.x}"]},
    ],
    ids=[
        "one task",
        "no attributes",
        "item alone",
        "no pair",
        "no request",
        "whole ids",
        "one item",
        "unsigned ids",
        "odd ids",
    ],
)
def test_bundles_that_lack_something(options: dict[str, Any], bundle_of: Callable[..., Path], tmp_path: Path):
    bundle = bundle_of(**options)
    write_package(bundle, tmp_path / "package", FIRST_PHASE)
    assert check_scores(bundle, tmp_path / "package") > 0
    sizes = {
        type_of(spec)[0]["d1"] for name, (spec, _) in schema_of(tmp_path / "package").inputs.items() if name == "first"
    }
    assert sizes == {4}


def test_of_two_towers_a_query_brings_its_vector_to_the_first_phase(bundle_of: Callable[..., Path], tmp_path: Path):
    bundle = _said_to_be(bundle_of(sides=("item", "request"), heads=("click",)), "two_towers")
    write_package(bundle, tmp_path / "package", FIRST_PHASE | {"direction": None})
    request = Request({"query": "shoes 1"}, {"item_id": ["plain"]})
    tensors = query_tensors(RequestSides(bundle), request, towers=True)
    assert tensors["input.query(first)"] == tensors["input.query(request)"][1:-1]
    evaluator = evaluator_of(tmp_path / "package")
    evaluator.set_query(tensors)
    fields = feed_of(tmp_path / "package")[0]["fields"]
    evaluator.set_document(fields)
    dot = float(evaluator.evaluate(evaluator.schema.phases["first-phase"]).dense)
    assert dot == pytest.approx(np.dot(fields["item_vector"], evaluator.query["first"].dense), rel=1e-5)


def test_a_network_that_vespa_cannot_evaluate_is_refused(bundle_of: Callable[..., Path]):
    content = (bundle_of(opset=18) / "network.onnx").read_bytes()
    model = onnx.load_from_string(content)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(InputError, match="expected ONNX's own operators"):
        vespa_model(model.SerializeToString())
    model = onnx.load_from_string(content)
    model.opset_import[0].version = 99
    with pytest.raises(InputError, match="up to opset"):
        vespa_model(model.SerializeToString())


@pytest.mark.parametrize(
    ("was", "now", "complaint"),
    [
        ("field item_id type long", "field index type long", "field name index"),
        ("indexing: attribute | summary", "indexing: attribute & summary", "attribute & summary"),
        ("distance-metric: dotproduct", "distance-metric: dot", "distance-metric"),
        ("click_weight: 1.0", "click_weight: 1e-5", "click_weight"),
        ("rerank-count: 1000", "rerank: 1000", "rerank-count"),
        ('input "item"', "input 'item'", "input"),
    ],
)
def test_the_parser_is_strict(was: str, now: str, complaint: str, bundle_of: Callable[..., Path], tmp_path: Path):
    write_package(bundle_of(ids=[1, 2], sides=("item",)), tmp_path / "package", FIRST_PHASE)
    text = (tmp_path / "package" / "application" / "schemas" / "item.sd").read_text()
    assert was in text
    with pytest.raises(ValueError, match=complaint):
        parse_schema(text.replace(was, now))
