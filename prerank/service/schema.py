"""The OpenAPI description of one bundle's service: its columns have their names and types."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from prerank.service import models
from prerank.service.bodies import ARROW, JSON
from prerank.service.bundles import Bundle
from prerank.serving.features import Column
from prerank.serving.spec import SIDES, Features

TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1},
    "float": {"type": "number"},
    "float32": {"type": "number"},
    "float16": {"type": "number"},
    "decimal": {"type": "number"},
    "boolean": {"type": "boolean"},
}
NULL = {"type": "null"}
BODIES = (
    models.ScoreRequest,
    models.TopRequest,
    models.ExplainRequest,
    models.ScoreBatch,
    models.TopBatch,
    models.ExplainBatch,
)
ARROW_BODY = {
    "schema": {"type": "string", "format": "binary"},
    "description": (
        "An Arrow IPC stream without compression and dictionaries: columns are candidates; metadata of its schema are "
        "request, items, n and, of /score, logits, each as JSON."
    ),
}


def body_of(model: type[models.Asked], arrow: bool) -> dict[str, Any]:
    """What OpenAPI says of a route's body."""
    content: dict[str, Any] = {JSON: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {"requestBody": {"required": True, "content": content | ({ARROW: ARROW_BODY} if arrow else {})}}


def describe(application: FastAPI, bundle: Bundle | None, most: int, batch: int) -> dict[str, Any]:
    """The whole description.

    Args:
        application: whose routes are described.
        bundle: whose columns requests have; None: any.
        most: candidates of a request.
        batch: requests of a batch.
    """
    described = get_openapi(
        title=application.title,
        version=application.version,
        description=application.description,
        routes=application.routes,
    )
    schemas = described["components"]["schemas"]
    for model in BODIES:
        own = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= own.pop("$defs", {})
        schemas[model.__name__] = own
    for model in (models.ScoreRequest, models.TopRequest, models.ExplainRequest):
        properties = schemas[model.__name__]["properties"]
        if bundle is not None:
            properties |= _columns(bundle.scorer.features, most)
    for model in (models.ScoreBatch, models.TopBatch, models.ExplainBatch):
        schemas[model.__name__]["properties"]["requests"]["maxItems"] = batch
    return described


def _columns(features: Features, most: int) -> dict[str, Any]:
    sides = {side: {column.name: _value(column) for column in features.columns[side]} for side in SIDES}
    item_id = TYPES[features.item_type]
    ids = {"propertyNames": {"pattern": "^-?[0-9]+$"}} if features.item_type == "integer" else {}
    candidates = {"item_id": item_id, **sides["pair"]}
    arrays = {
        name: {"type": "array", "items": value, "minItems": 1, "maxItems": most} for name, value in candidates.items()
    }
    return {
        "candidates": {**_object(arrays), "required": ["item_id"]},
        "request": _object(sides["request"]),
        "items": {"type": "object", "additionalProperties": _object(sides["item"]), **ids},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _value(column: Column) -> dict[str, Any]:
    """A value of a column, or null."""
    if column.kind == "number" and column.type != "null":
        number = [TYPES["float"], TYPES["boolean"]] if column.type == "boolean" else [TYPES["float"]]
        return {"anyOf": [*number, NULL]}
    value = {"anyOf": [*([TYPES[column.type]] if column.type != "null" else []), NULL]}
    return {"anyOf": [{"type": "array", "items": value}, NULL]} if column.kind == "list" else value
