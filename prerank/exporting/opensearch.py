"""``export.target=opensearch``: a bundle as an index of OpenSearch whose results our service reranks.

OpenSearch evaluates no network of ours. It finds candidates, by words or by the vectors' inner product, and a search
pipeline sends them to ``POST /score`` in one call and sorts them by the answer::

    index.json          settings and mapping, with the item vectors as a k-NN field
    feed.jsonl          bulk: an action and a document for each item
    cluster.json, connector.json, model.json, pipeline.json, search.json     the rerank recipe, step by step
    README.md, first_phase.json

Formats: https://docs.opensearch.org (k-NN vector, methods and engines; ML inference search response processor; rerank
processor by field), and the connector tutorials of opensearch-project/ml-commons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from configs.stages import write_json
from prerank.exporting.engines import (
    Field,
    Item,
    Package,
    json_lines,
    markdown_table,
    recall_table,
    without_pairs,
    write_lines,
)
from prerank.serving.request import ITEM_ID

INDEX = "catalogue"
VECTOR, SCORE = "item_vector", "prerank_score"
RESERVED = frozenset((ITEM_ID, VECTOR, SCORE, "previous_score"))
KEYWORD = {"type": "keyword", "ignore_above": 8191}
"""A term holds 32,766 bytes at most, and a character up to 4."""
DATE = {"type": "date", "format": "strict_date_optional_time_nanos"}
TYPES: dict[str, dict[str, Any]] = {
    "text": KEYWORD,
    "integer": {"type": "long"},
    "unsigned": {"type": "unsigned_long"},
    "float": {"type": "double"},
    "boolean": {"type": "boolean"},
    "date": DATE,
    "timestamp": DATE,
    "time": {"type": "keyword"},
    "bytes": {"type": "binary"},
}
LONGEST_ID = 512
"""Bytes of a document's id."""
SERVICE = "http://127.0.0.1:8080"
CANDIDATES = 100


def write_package(bundle: Path, folder: Path, first_phase: dict[str, Any]) -> None:
    """Write mapping, feed and recipe.

    Args:
        bundle: of a network.
        folder: that is new.
        first_phase: ``direction``, c (None for two towers), and ``recall`` as measured.

    Raises:
        InputError: for a bundle without item vectors.
    """
    package = Package(bundle, RESERVED)
    folder.mkdir(parents=True)
    write_json(folder / "index.json", _index(package))
    items = write_lines(folder / "feed.jsonl", _bulk(package)) // 2
    pairs = pairs_in_documents(package)
    write_json(folder / "cluster.json", CLUSTER)
    write_json(folder / "connector.json", _connector(package, pairs))
    write_json(folder / "model.json", MODEL)
    write_json(folder / "pipeline.json", _pipeline(pairs))
    golden = json_lines(package.bundle.read("golden.jsonl"))[0]
    write_json(folder / "search.json", _search(golden["body"]["request"], first_phase["direction"]))
    write_json(folder / "first_phase.json", first_phase)
    (folder / "README.md").write_text(_readme(package, items, pairs, first_phase), encoding="utf-8")


def _index(package: Package) -> dict[str, Any]:
    vector = {
        "type": "knn_vector",
        "dimension": package.vectors.width,
        "method": {
            "name": "hnsw",
            "engine": "faiss",
            # The vectors are not normalised and their lengths count in the score; cosine would drop them.
            "space_type": "innerproduct",
            "parameters": {"m": 16, "ef_construction": 128},
        },
    }
    properties = {ITEM_ID: TYPES[package.id_family], VECTOR: vector}
    properties |= {
        field.name: {"type": "text"} if field.kind == "text" else TYPES[field.family] for field in package.fields
    }
    return {"settings": {"index": {"knn": True}}, "mappings": {"dynamic": "strict", "properties": properties}}


def _bulk(package: Package) -> Iterator[dict[str, Any]]:
    for item in package.items(dates=True):
        yield {"index": {"_index": INDEX, "_id": document_id(item)}}
        yield {ITEM_ID: item.item_id, VECTOR: item.vector, **item.values}


def document_id(item: Item) -> str:
    """The id of an item's document: its own, or the key where OpenSearch takes no such id."""
    text = str(item.item_id)
    return text if text and len(text.encode()) <= LONGEST_ID else item.key


def pairs_in_documents(package: Package) -> dict[str, str]:
    """Columns of the pair side that documents have too, whose value there is sent → field.

    The processor gathers a field of all hits into one list and leaves out what is missing, after which the values would
    be other documents': only a field that every item has is sent.
    """
    columns = {column.name for column in package.features.columns["pair"] if column.kind in ("id", "number")}
    same = {"text", "integer", "float", "boolean"}
    return {
        field.column: field.name
        for field in package.fields
        if field.column in columns and field.complete and not field.is_list and field.family in same
    }


CLUSTER = {
    "persistent": {
        "plugins.ml_commons.trusted_connector_endpoints_regex": [r"^http://127\.0\.0\.1:8080/.*$"],
        "plugins.ml_commons.connector.private_ip_enabled": True,
        "plugins.ml_commons.only_run_on_ml_node": False,
    }
}
MODEL = {"name": "prerank", "function_name": "remote", "connector_id": "CONNECTOR_ID"}


def _connector(package: Package, pairs: dict[str, str]) -> dict[str, Any]:
    """The call of ``POST /score``: a placeholder stands where JSON is put in, outside any quotes."""
    columns = [f'"item_id": ${{parameters.{ITEM_ID}}}']
    columns += [f'"{_escaped(column)}": ${{parameters.{name}}}' for column, name in pairs.items()]
    return {
        "name": f"{package.system} scored by prerank.serve",
        "description": "Scores the candidates of a search by POST /score",
        "version": "1",
        "protocol": "http",
        "parameters": {"endpoint": SERVICE},
        "credential": {},
        "actions": [
            {
                "action_type": "predict",
                "method": "POST",
                "url": "${parameters.endpoint}/score",
                "headers": {"Content-Type": "application/json"},
                "request_body": f'{{"request": ${{parameters.request}}, "candidates": {{{", ".join(columns)}}}}}',
            }
        ],
    }


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _pipeline(pairs: dict[str, str]) -> dict[str, Any]:
    return {
        "description": "Scores the hits in one call of the service, and sorts them by it",
        "response_processors": [
            {
                "ml_inference": {
                    "model_id": "MODEL_ID",
                    "function_name": "remote",
                    "input_map": [
                        {
                            "request": "$._request.ext.ml_inference.request",
                            ITEM_ID: ITEM_ID,
                            **{name: name for name in pairs.values()},
                        }
                    ],
                    "output_map": [{SCORE: "score"}],
                    "one_to_one": False,
                    "full_response_path": False,
                    "ignore_missing": False,
                    "ignore_failure": False,
                }
            },
            {"rerank": {"by_field": {"target_field": SCORE, "remove_target_field": True, "keep_previous_score": True}}},
        ],
    }


def _search(request: dict[str, Any], direction: Sequence[float] | None) -> dict[str, Any]:
    """A search whose hits are reranked: by the vectors where they have a direction, else all items."""
    knn = {"knn": {VECTOR: {"vector": direction, "k": CANDIDATES}}}
    return {
        "size": CANDIDATES,
        "_source": {"excludes": [VECTOR]},
        "query": {"match_all": {}} if direction is None else knn,
        "ext": {"ml_inference": {"request": request}},
    }


def _readme(package: Package, items: int, pairs: dict[str, str], first_phase: dict[str, Any]) -> str:
    template = Template((files("prerank.exporting") / "templates" / "opensearch.md").read_text(encoding="utf-8"))
    others = sorted({column.name for column in package.features.columns["pair"]} - set(pairs))
    return template.substitute(
        system=package.system,
        items=f"{items:,}",
        width=package.vectors.width,
        index=INDEX,
        first=FIRST[package.is_towers],
        recall=recall_table(first_phase["recall"]),
        without_pairs=without_pairs(package.bundle.folder, pairs),
        sent=", ".join(f"`{column}`" for column in pairs) or "none",
        others=", ".join(f"`{column}`" for column in others) or "none",
        fields=markdown_table([["column", "field", "type"], *_described(package.fields)])
        if package.fields
        else "None.",
    )


def _described(fields: Sequence[Field]) -> list[list[str]]:
    return [
        [field.column, field.name, "text" if field.kind == "text" else TYPES[field.family]["type"]] for field in fields
    ]


FIRST = {
    True: "The vector of a k-NN query is the request's: `RequestSides(bundle).of_request(request)['request'][0]` of "
    "`prerank.exporting.engines`. The score is this inner product, on a line for each head.",
    False: "The vector of the k-NN query in `search.json` is one direction for all requests: it finds the items that "
    "the network scores high whatever is asked. Candidates of a request come from a query by words.",
}
