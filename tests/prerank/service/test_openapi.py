"""The OpenAPI description: it knows the bundle's columns, and what is asked by it is answered as it says."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from configs.schema import ServiceConfig
from prerank.service.application import Service
from prerank.service.bodies import ARROW
from prerank.service.bundles import Bundles
from prerank.service.serving import warm
from prerank.serving.scorer import Scorer
from tests.prerank.service.conftest import write_bundle


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_bundle(tmp_path_factory.mktemp("openapi") / "bundle")
    bundles = Bundles(folder, lambda path: Scorer.load(path, 1), warm)
    bundles.look()
    return Service(ServiceConfig(time_limit_ms=60_000), bundles).application()


def test_columns_have_their_names_and_types(application: Any) -> None:
    schema = application.openapi()["components"]["schemas"]["TopRequest"]["properties"]
    assert set(schema["request"]["properties"]) == {"query", "user_id", "history"}
    assert set(schema["candidates"]["properties"]) == {"item_id", "price", "place", "is_ad"}
    assert schema["candidates"]["properties"]["item_id"]["items"] == {"type": "string"}
    assert {"type": "number"} in schema["candidates"]["properties"]["price"]["items"]["anyOf"]
    assert set(schema["items"]["additionalProperties"]["properties"]) == {"brand", "size"}


SCORING = ["/score", "/top", "/explain", "/batch/score", "/batch/top", "/batch/explain"]
PATHS = [*SCORING, "/health", "/ready", "/metrics"]


@pytest.fixture(scope="module")
def described(application: Any) -> Any:
    schemathesis.serializer(ARROW)(lambda _context, value: value)
    return schemathesis.openapi.from_asgi("/openapi.json", application)


def test_every_route_is_asked(described: Any) -> None:
    assert sorted(each.ok().path for each in described.get_all_operations()) == sorted(PATHS)


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, mode) for path in PATHS for mode in GenerationMode if path in SCORING or mode.is_positive],
)
def test_what_is_asked_by_the_description_is_answered_as_it_says(
    described: Any, path: str, mode: GenerationMode
) -> None:
    """Whatever is asked: no defect, statuses and answers as described; and what is no request is refused.

    Columns of unequal length fit the description, which cannot tell, and are refused all the same.
    """
    operation = next(each.ok() for each in described.get_all_operations() if each.ok().path == path)
    excluded = [positive_data_acceptance] if mode.is_positive else []
    statuses = set()

    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case: schemathesis.Case) -> None:
        statuses.add(case.call_and_validate(excluded_checks=excluded).status_code)

    asked()
    assert (200 in statuses) == mode.is_positive
