"""A bundle's scores of every test request against those that evaluation wrote of the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from configs.command import Invocation, parse
from graph.logs.log import SearchLog
from prerank.encoding.batches import EncodedLog
from prerank.exporting.bundle import export_bundle
from prerank.exporting.requests import GoldenRequest, golden_requests
from prerank.serving.request import Request
from prerank.serving.scorer import Scorer

SYSTEMS = ("ple", "grace", "lightgbm", "popularity")


@pytest.fixture(scope="module")
def bundles(market: Invocation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle of each of the market's systems."""
    folder = tmp_path_factory.mktemp("bundles")
    run = [f"runs_folder={market.config.runs_folder}", f"run={market.config.run}"]
    return {
        system: export_bundle(parse([*run, f"model={system}", f"export.folder={folder / system}"]))
        for system in SYSTEMS
    }


@pytest.fixture(scope="module")
def requests(market: Invocation) -> list[GoldenRequest]:
    """Every test request of the market, as its caller would send it."""
    encoded = EncodedLog.open(market.run.encoded)
    return golden_requests(SearchLog.open(market.run.logs), encoded.split("test"), encoded.schema.columns, 10**6)


def predictions_of(market: Invocation, system: str) -> pa.Table:
    table = pq.read_table(market.run.system(system) / "predictions.parquet")
    return table.filter(pc.equal(table["split"], "test"))


@pytest.mark.parametrize("system", SYSTEMS)
def test_parity(system: str, market: Invocation, bundles: dict[str, Path], requests: list[GoldenRequest]) -> None:
    scorer = Scorer.load(bundles[system], threads=2)
    predictions = predictions_of(market, system)
    score, clicked, rank = (predictions[name].to_numpy() for name in ("score", "p_click", "p_rank"))
    for each in requests:
        scores = scorer.score(Request.of(each.body))
        assert np.abs(scores.score - score[each.rows]).max() < 1e-5
        assert np.abs(1 / (1 + np.exp(-scores.click)) - clicked[each.rows]).max() < 1e-5
        if scores.rank is not None:
            assert np.abs(1 / (1 + np.exp(-scores.rank.mean(axis=1))) - rank[each.rows]).max() < 1e-5
        assert not scores.missing
        assert not len(scores.unknown)


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_item_described_as_the_catalogue_has_it(
    system: str, bundles: dict[str, Path], requests: list[GoldenRequest]
) -> None:
    """Its attributes and its hash give the score that its precomputed vector gives; bare, another one."""
    items = pq.read_table(bundles[system] / "item_attributes.parquet")
    attributes: dict[Any, Any] = {row.pop("item_id"): row for row in items.to_pylist()}
    scorer = Scorer.load(bundles[system], verify=False)
    for each in requests[:10]:
        body = each.body
        described = {str(item): attributes[item] for item in body["candidates"]["item_id"][::2]}
        expected = scorer.score(Request.of(body)).score
        scores = scorer.score(Request.of(body | {"items": described})).score
        assert np.abs(scores - expected).max() < 1e-5
        bare = scorer.score(Request.of(body | {"items": {key: {} for key in described}})).score
        assert np.array_equal(bare[1::2], expected[1::2])
        assert np.array_equal(bare, expected) == (system == "popularity")


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_item_that_nobody_knows(system: str, bundles: dict[str, Path], requests: list[GoldenRequest]) -> None:
    scorer, body = Scorer.load(bundles[system], verify=False), requests[0].body
    ids = body["candidates"]["item_id"]
    unknown = -1 if isinstance(ids[0], int) else "nobody's"
    candidates = body["candidates"] | {"item_id": [*ids[:-1], unknown]}
    scores = scorer.score(Request.of(body | {"candidates": candidates}))
    assert scores.unknown.tolist() == [len(ids) - 1]
    assert np.isfinite(scores.score).all()
    assert np.array_equal(scores.score[:-1], scorer.score(Request.of(body)).score[:-1])
    explained = scorer.explain(Request.of(body | {"candidates": candidates}), 10**6)
    assert {each.item_id: each.item.in_catalogue for each in explained.candidates}[unknown] is False
