"""What requests and answers hold: for their checks, and for OpenAPI.

The columns of a request depend on the bundle; :mod:`prerank.service.schema` puts them in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MOST_EXPLAINED = 1000
Columns = dict[str, list[Any]]
Attributes = dict[str, dict[str, Any]]


class Asked(BaseModel):
    """A model of what is asked: an unknown name, or a value of another type, is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CandidatesRequest(Asked):
    """One request and its candidates, whatever is asked of them."""

    candidates: Columns = Field(description="item_id and the pair side's columns: arrays of one length")
    request: dict[str, Any] = Field({}, description="the request side's columns; one that is left out is missing")
    items: Attributes = Field(
        {}, description="item id → attributes of candidates that the catalogue lacks, or has otherwise"
    )


class ScoreRequest(CandidatesRequest):
    """One request and its candidates."""

    logits: bool = Field(False, description="answer with each head's logits, too")


class TopRequest(CandidatesRequest):
    """One request, its candidates, and how many of them are wanted."""

    n: int = Field(100, ge=1, le=1_000_000, description="of the best candidates")


class ExplainRequest(CandidatesRequest):
    """One request, its candidates, and how many of them are explained."""

    n: int = Field(10, ge=1, le=MOST_EXPLAINED, description="of the best candidates")


class Batch(Asked):
    """Several requests, answered all or none."""

    requests: Sequence[CandidatesRequest]


class ScoreBatch(Batch):
    """Several requests, answered all or none."""

    requests: list[ScoreRequest] = Field(min_length=1)


class TopBatch(Batch):
    """Several requests, answered all or none."""

    requests: list[TopRequest] = Field(min_length=1)


class ExplainBatch(Batch):
    """Several requests, answered all or none."""

    requests: list[ExplainRequest] = Field(min_length=1)


class Scored(BaseModel):
    """Scores of the candidates, in their order."""

    score: list[float] = Field(description="higher is better")
    click: list[float] | None = Field(None, description="logits of a click, if they were asked for")
    order: list[float] | None = Field(None, description="logits of an order, if they were asked for")
    rank: list[list[float]] | None = Field(None, description="logits of the ranker's first k, if they were asked for")
    unknown: list[int] = Field(description="candidates of which nothing but the id is known")
    missing: list[str] = Field(description="columns that the request left out")
    bundle: str = Field(description="the bundle that answered")


class Topped(BaseModel):
    """The best candidates, best first."""

    item_id: list[str | int]
    position: list[int] = Field(description="of each among the candidates, from 0")
    score: list[float]
    unknown: list[int] = Field(description="candidates of which nothing but the id is known")
    missing: list[str] = Field(description="columns that the request left out")
    bundle: str = Field(description="the bundle that answered")


class Head(BaseModel):
    """One head's share of a score."""

    logit: float
    probability: float
    weight: float
    contribution: float = Field(description="weight times logit; a score is the sum of its heads' contributions")


class Known(BaseModel):
    """What the bundle knows of an item."""

    in_catalogue: bool
    described: bool = Field(description="the request says what the item is, in the catalogue's place")
    training_impressions: int
    training_clicks: int
    training_orders: int
    in_p: bool | None = Field(description="whether ψ had a row for it; null for a run without ψ")
    segment: str | None = Field(description="head, torso, tail or cold; null where the bundle does not tell")


class ExplainedCandidate(BaseModel):
    """One candidate's score and what it is made of."""

    item_id: str | int
    position: int
    score: float
    heads: dict[str, Head]
    rank_logits: list[float] | None
    item: Known


class Explained(BaseModel):
    """The best candidates, best first, and why."""

    candidates: list[ExplainedCandidate]
    unknown: list[int] = Field(description="candidates of which nothing but the id is known")
    missing: list[str] = Field(description="columns that the request left out")
    bundle: str = Field(description="the bundle that answered")


class ScoredBatch(BaseModel):
    """Answers in the order of the requests."""

    results: list[Scored]


class ToppedBatch(BaseModel):
    """Answers in the order of the requests."""

    results: list[Topped]


class ExplainedBatch(BaseModel):
    """Answers in the order of the requests."""

    results: list[Explained]


class Failure(BaseModel):
    """Why there is no answer."""

    error: str
    field: str | None = Field(None, description="where it lies, such as candidates.price[3]")
    value: str | None = Field(None, description="what stands there, shortened")
    rule: str | None = Field(None, description="what was expected")
    request_id: str = Field(description="as in the log")


class BundleFacts(BaseModel):
    """What a bundle is called, and of what system and run it is."""

    bundle: str
    name: str
    system: str
    run: str
    written: str


class Health(BaseModel):
    """The process answers."""

    alive: bool


class Readiness(BaseModel):
    """The bundle that answers, and the one that would after a rollback."""

    ready: bool
    current: BundleFacts
    previous: BundleFacts | None
