"""``export.target=vespa``: a bundle as an application package of Vespa.

The first phase orders whatever a query matches by an inner product (:mod:`prerank.exporting.first_phase`); the second
scores its best with the bundle's network. A document holds the item's side as a tensor; a query brings the request's
side, and for the candidates whose pair side it knows the difference from a pair of which nothing is known::

    application/        services.xml, schemas/item.sd, models/score.onnx, search/query-profiles/{default,types/root}.xml
    feed.jsonl          a put for each item
    examples/           a query of each of a few golden requests, and the scores to expect
    README.md, first_phase.json

Formats: https://docs.vespa.ai; the grammar of schemas in vespa-engine/vespa (config-model, SchemaParser.jj); what its
content node takes of an ONNX model (eval/onnx, onnx_wrapper.cpp).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
import onnx
from jaxtyping import Float32

from configs.errors import InputError
from configs.stages import write_json
from prerank.exporting.engines import (
    Field,
    Item,
    Package,
    RequestSides,
    decimal,
    json_lines,
    markdown_table,
    recall_table,
    without_pairs,
    write_lines,
)
from prerank.serving.request import ITEM_ID, Request

SCHEMA, PROFILE = "item", "prerank"
NAMESPACE = "catalogue"
KEY, VECTOR = "item_key", "item_vector"
OWN = (ITEM_ID, KEY, VECTOR)
SCHEMA_WORDS = (
    "index index_url summary attribute select_input host documentid position split_foreach tokenize if else switch "
    "case sddocname relevancy"
)
"""Of com.yahoo.schema.Schema: no field may be called so."""
QUERY_WORDS = (
    "select from where order by asc desc limit offset timeout and or not in contains matches true false null sources "
    "rank range all group output each"
)
"""A query in YQL would have to quote them."""
RESERVED = frozenset({*f"{SCHEMA_WORDS} {QUERY_WORDS}".split(), *OWN})
TYPES = {
    "text": "string",
    "integer": "long",
    "unsigned": "string",
    "float": "double",
    "boolean": "bool",
    "date": "long",
    "timestamp": "long",
    "time": "long",
    "bytes": "raw",
}
LARGEST_LONG = 2**63 - 1
RERANK = 1000
"""Documents of the first phase's best that the network scores, on each content node."""
EXAMPLES = 3
LATEST_OPSET, LATEST_IR = 21, 10
"""Of ONNX Runtime 1.20; Vespa had 1.26 when this was written."""
ELEMENTS = (onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL)


def write_package(bundle: Path, folder: Path, first_phase: dict[str, Any]) -> None:
    """Write the application package.

    Args:
        bundle: of a network.
        folder: that is new.
        first_phase: ``direction``, c (None for two towers), and ``recall`` as measured.

    Raises:
        InputError: for a bundle without item vectors, or a network that Vespa cannot evaluate.
    """
    package, sides = Package(bundle, RESERVED), RequestSides(bundle)
    model = vespa_model(package.bundle.read("network.onnx"))
    inputs = _inputs(model, package, sides, first_phase["direction"])
    content = {
        "services.xml": SERVICES.encode(),
        f"schemas/{SCHEMA}.sd": _schema(package, sides, model, inputs).encode(),
        "models/score.onnx": model.SerializeToString(deterministic=True),
        "search/query-profiles/default.xml": b'<query-profile id="default" type="root" />\n',
        "search/query-profiles/types/root.xml": _profile_type(inputs).encode(),
    }
    for name, written in content.items():
        path = folder / "application" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)
    items = write_lines(folder / "feed.jsonl", (_put(item, package.fields) for item in package.items(dates=False)))
    write_json(folder / "first_phase.json", first_phase)
    _write_examples(package, sides, folder)
    (folder / "README.md").write_text(_readme(package, items, first_phase, inputs), encoding="utf-8")


def vespa_model(content: bytes) -> onnx.ModelProto:
    """The score network as Vespa evaluates it: one document at a time, all tensors of float.

    Its content node takes no boolean input, and in a ranking the number of rows is 1.

    Raises:
        InputError: if an operator set or an element type is none that Vespa's ONNX Runtime takes.
    """
    model = onnx.load_from_string(content)
    versions = {each.domain: each.version for each in model.opset_import}
    if versions.get("", 0) > LATEST_OPSET or model.ir_version > LATEST_IR or set(versions) - {"", "ai.onnx"}:
        raise InputError(
            f"network.onnx: expected ONNX's own operators up to opset {LATEST_OPSET} and IR {LATEST_IR}, which Vespa "
            f"evaluates, found {versions} and IR {model.ir_version}"
        )
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    for dimension in (each for value in values for each in value.type.tensor_type.shape.dim):
        if dimension.dim_param:
            dimension.dim_value = 1
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type not in ELEMENTS:
            raise InputError(f"network.onnx: expected {value.name} as floats, found element type {value.type}")
        if value.type.tensor_type.elem_type == onnx.TensorProto.BOOL:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            boolean = f"{value.name}_as_boolean"
            for node in model.graph.node:
                node.input[:] = [boolean if name == value.name else name for name in node.input]
            cast = onnx.helper.make_node("Cast", [value.name], [boolean], to=onnx.TensorProto.BOOL)
            model.graph.node.insert(0, cast)
    onnx.checker.check_model(model, full_check=True)
    return model


def query_tensors(sides: RequestSides, request: Request, towers: bool) -> dict[str, str]:
    """The tensors of a query, as the query API takes them: ``input.query(name)`` → literal form.

    Args:
        sides: of the bundle that the package was written from.
        request: whose candidates are those documents whose pair side is known; others are scored without one.
        towers: whether the score is an inner product, so that the first phase takes the request's vector too.

    Raises:
        RequestError: naming what is wrong with the request.
    """
    vectors = sides.of_request(request)
    tensors = {name: _literal(values.astype(np.float32)) for name, values in vectors.items()}
    if towers:
        tensors["first"] = _literal(vectors["request"][0])
    pairs = sides.of_pairs(request)
    if pairs:
        missing = sides.missing("pair")
        tensors["pair"] = "{" + ",".join(f"{key}:{_literal(pair - missing)}" for key, pair in pairs.items()) + "}"
    return {f"input.query({name})": literal for name, literal in tensors.items()}


Input = tuple[str, str]
"""Type of a query's tensor, and its default in literal form; empty: zeros, or no cells."""


def _inputs(
    model: onnx.ModelProto, package: Package, sides: RequestSides, direction: Sequence[float] | None
) -> dict[str, Input]:
    """The tensors that a query may bring: of the network's inputs those that are no item's, and the first phase's."""
    shapes = _shapes(model)
    default = "" if direction is None else _literal(np.array(direction, np.float32))
    inputs = {"first": (f"tensor<float>(d1[{package.vectors.width}])", default)}
    for name, shape in shapes.items():
        if name not in ("item", "pair"):
            unknown = _literal(sides.missing("request")[None]) if name == "request" and not package.is_towers else ""
            inputs[name] = (_dense(shape), unknown)
    if "pair" in shapes:
        inputs["pair"] = (f"tensor<float>(item{{}},d1[{shapes['pair'][1]}])", "")
    return inputs


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    return {
        each.name: [dimension.dim_value for dimension in each.type.tensor_type.shape.dim] for each in model.graph.input
    }


def _dense(shape: Sequence[int]) -> str:
    return f"tensor<float>({','.join(f'd{place}[{size}]' for place, size in enumerate(shape))})"


def _literal(values: Float32[np.ndarray, ...]) -> str:
    """A dense tensor in literal form: numbers in square brackets, nested as the dimensions are."""
    if values.ndim == 0:
        return decimal(float(values))
    return "[" + ",".join(_literal(each) for each in values) + "]"


def _schema(package: Package, sides: RequestSides, model: onnx.ModelProto, inputs: dict[str, Input]) -> str:
    shapes, heads = _shapes(model), [each.name for each in model.graph.output]
    fields = [
        *_lines(ITEM_ID, TYPES[package.id_family], ["indexing: attribute | summary", "attribute: fast-search"]),
        *_lines(KEY, "tensor<float>(item{})", ["indexing: attribute"]),
        *_lines(
            VECTOR,
            f"tensor<float>(d1[{package.vectors.width}])",
            [
                "indexing: attribute | index",
                *_block("attribute", ["distance-metric: dotproduct"]),
                *_block("index", _block("hnsw", ["max-links-per-node: 16", "neighbors-to-explore-at-insert: 200"])),
            ],
        ),
        *(line for field in package.fields for line in _field(field)),
    ]
    texts = [field.name for field in package.fields if field.kind == "text"]
    searched = _block("fieldset default", [f"fields: {', '.join(texts)}"]) if texts else []
    declared = [
        f"query({name}) {type_}{f': {default}' if default else ''}" for name, (type_, default) in inputs.items()
    ]
    constants = [f"{head}_weight: {decimal(package.weights[head])}" for head in heads]
    functions = _block("function item_input()", [f"expression: {ROW} * attribute({VECTOR})"])
    if "pair" in shapes:
        constants.append(f"pair_missing tensor<float>(d1[{shapes['pair'][1]}]): {_literal(sides.missing('pair'))}")
        known = f"reduce(query(pair) * attribute({KEY}), sum, item)"
        functions += _block("function pair_input()", [f"expression: {ROW} * (constant(pair_missing) + {known})"])
    bound = {name: f"{name}_input" if name in ("item", "pair") else f"query({name})" for name in shapes}
    profile = [
        *_block("inputs", declared),
        *_block("constants", constants),
        *_block(
            "onnx-model score",
            [
                "file: models/score.onnx",
                *(f'input "{name}": {source}' for name, source in bound.items()),
                *(f'output "{head}": {head}' for head in heads),
            ],
        ),
        *functions,
        *_block("first-phase", [f"expression: sum(query(first) * attribute({VECTOR}))"]),
        *_block("second-phase", [f"expression: {' + '.join(map(_term, heads))}", f"rerank-count: {RERANK}"]),
    ]
    document = _block(f"document {SCHEMA}", fields)
    return (
        "\n".join(_block(f"schema {SCHEMA}", [*document, *searched, *_block(f"rank-profile {PROFILE}", profile)]))
        + "\n"
    )


ROW = "tensor<float>(d0[1])(1)"
"""What makes one row of a vector, as the network takes it."""


def _term(head: str) -> str:
    logit = "reduce(onnx(score).rank, avg)" if head == "rank" else f"onnx(score).{head}{{d0:0}}"
    return f"constant({head}_weight) * {logit}"


def _block(header: str, body: Sequence[str]) -> list[str]:
    return [f"{header} {{", *(f"    {line}" for line in body), "}"]


def _lines(name: str, type_: str, body: Sequence[str]) -> list[str]:
    return _block(f"field {name} type {type_}", body)


def _field(field: Field) -> list[str]:
    type_ = TYPES[field.family]
    if field.is_list:
        # A list of truth values has no attribute of its own.
        type_ = f"array<{'byte' if type_ == 'bool' else type_}>"
    if field.family == "bytes":
        return _lines(field.name, type_, ["indexing: summary"])
    if field.kind == "text":
        return _lines(field.name, type_, ["indexing: index | summary", "index: enable-bm25"])
    return _lines(field.name, type_, ["indexing: attribute | summary"])


def document_id(item_id: Any) -> str:
    """The id of an item's document; characters other than letters, digits and ``_.-~`` are percent-encoded."""
    return f"id:{NAMESPACE}:{SCHEMA}::{quote(str(item_id), safe='')}"


def _put(item: Item, fields: Sequence[Field]) -> dict[str, Any]:
    values = {field.name: _value(item.values[field.name], field) for field in fields if field.name in item.values}
    own = {ITEM_ID: _id(item.item_id), KEY: {item.key: 1.0}, VECTOR: item.vector}
    return {"put": document_id(item.item_id), "fields": own | values}


def _id(item_id: Any) -> Any:
    return printable(item_id) if isinstance(item_id, str) else str(item_id) if item_id > LARGEST_LONG else item_id


def _value(value: Any, field: Field) -> Any:
    if isinstance(value, list):
        return [_value(each, field) for each in value]
    if field.family == "unsigned":
        return str(value)
    if field.family == "text":
        return printable(value)
    return int(value) if field.family == "boolean" and field.is_list else value


def printable(text: str) -> str:
    """Without the characters that Vespa refuses in text: controls other than tab and line ends, and non-characters."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufdef\ufffe\uffff]", "\ufffd", text)


SERVICES = f"""<?xml version="1.0" encoding="utf-8" ?>
<services version="1.0">
  <container id="default" version="1.0">
    <search />
    <document-api />
    <nodes>
      <node hostalias="node1" />
    </nodes>
  </container>
  <content id="{NAMESPACE}" version="1.0">
    <min-redundancy>1</min-redundancy>
    <documents>
      <document type="{SCHEMA}" mode="index" />
    </documents>
    <nodes>
      <node hostalias="node1" distribution-key="0" />
    </nodes>
  </content>
</services>
"""


def _profile_type(inputs: dict[str, Input]) -> str:
    fields = [
        f"  <field name={quoteattr(f'ranking.features.query({name})')} type={quoteattr(type_)} />"
        for name, (type_, _) in inputs.items()
    ]
    return "\n".join(['<query-profile-type id="root" inherits="native">', *fields, "</query-profile-type>"]) + "\n"


def _write_examples(package: Package, sides: RequestSides, folder: Path) -> None:
    """Queries of golden requests over their own candidates, with the scores that they should get."""
    for number, golden in enumerate(json_lines(package.bundle.read("golden.jsonl"))[:EXAMPLES], start=1):
        body = golden["body"]
        request = Request(body["request"], body["candidates"], body.get("items", {}))
        ids = body["candidates"][ITEM_ID]
        query = {
            "yql": f"select {ITEM_ID} from {SCHEMA} where {ITEM_ID} in ({', '.join(map(_yql, ids))})",
            "ranking": PROFILE,
            "hits": min(len(ids), 400),  # of one answer, unless a query profile allows more
            **query_tensors(sides, request, package.is_towers),
        }
        scores = golden.get("score_stored", golden["score"])
        expected = [{ITEM_ID: item_id, "relevance": score} for item_id, score in zip(ids, scores, strict=True)]
        write_json(folder / "examples" / f"query_{number}.json", query)
        write_json(folder / "examples" / f"expected_{number}.json", {"scores": expected})


def _yql(item_id: Any) -> str:
    value = _id(item_id)
    return json.dumps(value) if isinstance(value, str) else str(value)


def _readme(package: Package, items: int, first_phase: dict[str, Any], inputs: dict[str, Input]) -> str:
    template = Template((files("prerank.exporting") / "templates" / "vespa.md").read_text(encoding="utf-8"))
    fields = [
        [field.column, field.name, TYPES[field.family] if not field.is_list else f"list of {TYPES[field.family]}"]
        for field in package.fields
    ]
    return template.substitute(
        system=package.system,
        items=f"{items:,}",
        width=package.vectors.width,
        rerank=RERANK,
        namespace=NAMESPACE,
        first=FIRST[package.is_towers],
        recall=recall_table(first_phase["recall"]),
        without_pairs=without_pairs(package.bundle.folder, ()),
        inputs=markdown_table(
            [["input", "type"], *([f"`query({name})`", f"`{type_}`"] for name, (type_, _) in inputs.items())]
        ),
        fields=markdown_table([["column", "field", "type"], *fields]) if fields else "None.",
    )


FIRST = {
    True: "`query(first)` is the request's vector: the score is this inner product, on a line for each head.",
    False: "`query(first)` is one direction for all requests, the rank profile's default: a query leaves it out.",
}
