"""What a request is answered with: the part of the service that runs in its threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prerank.service.bodies import ARROW, JSON, read_arrow, read_json, request_of, write_arrow, write_json
from prerank.service.bundles import Bundle
from prerank.service.models import Batch, CandidatesRequest, ExplainRequest, ScoreRequest, TopRequest
from prerank.serving.request import ITEM_ID, RequestError


@dataclass(frozen=True)
class Answer:
    """What one request is answered with.

    Attributes:
        columns: of one length.
        beside: facts about the whole.
        candidates, unknown: how many were scored, and how many of these by their hashed id alone.
        missing: columns that the request left out.
    """

    columns: dict[str, Any]
    beside: dict[str, Any]
    candidates: int
    unknown: int = 0
    missing: tuple[str, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return self.columns | self.beside


@dataclass(frozen=True)
class Written:
    """An answer to be sent, and what it was made of."""

    body: bytes
    kind: str
    answers: list[Answer]


@dataclass(frozen=True)
class Limits:
    """Candidates of a request or batch, and requests of a batch, at most."""

    candidates: int
    batch: int


Work = Callable[[Bundle, Any, Limits], Answer]


def score(bundle: Bundle, body: ScoreRequest, limits: Limits) -> Answer:
    """The scores of all candidates."""
    request = request_of(body, limits.candidates)
    scores = bundle.scorer.score(request, logits=body.logits)
    logits = {head: getattr(scores, head) for head in ("click", "order", "rank")} if body.logits else {}
    columns = {"score": scores.score} | {head: values for head, values in logits.items() if values is not None}
    beside = {"unknown": scores.unknown, "missing": scores.missing, "bundle": bundle.short}
    return Answer(columns, beside, len(scores.score), len(scores.unknown), scores.missing)


def top(bundle: Bundle, body: TopRequest, limits: Limits) -> Answer:
    """The best candidates."""
    request = request_of(body, limits.candidates)
    best = bundle.scorer.top(request, body.n)
    columns = {"item_id": best.item_id, "position": best.position, "score": best.score}
    beside = {"unknown": best.unknown, "missing": best.missing, "bundle": bundle.short}
    return Answer(columns, beside, len(request.candidates[ITEM_ID]), len(best.unknown), best.missing)


def explain(bundle: Bundle, body: ExplainRequest, limits: Limits) -> Answer:
    """The best candidates, and why."""
    request = request_of(body, limits.candidates)
    why = bundle.scorer.explain(request, body.n)
    beside = {"unknown": why.unknown, "missing": why.missing, "bundle": bundle.short}
    scored = len(request.candidates[ITEM_ID])
    return Answer({"candidates": why.candidates}, beside, scored, len(why.unknown), why.missing)


def one(
    bundle: Bundle,
    body: bytes,
    work: Work,
    model: type[CandidatesRequest],
    limits: Limits,
    arrow: bool,
    wants_arrow: bool,
) -> Written:
    """Answer one request.

    Args:
        bundle: that scores.
        body: as it came.
        work: what is wanted.
        model: of the body.
        limits: of the body.
        arrow: whether it came as a stream of Arrow's.
        wants_arrow: whether the answer shall be one.

    Raises:
        AnswerError, RequestError: if the body is not as it should be.
    """
    answer = work(bundle, (read_arrow if arrow else read_json)(body, model), limits)
    if wants_arrow:
        return Written(write_arrow(answer.columns, answer.beside), ARROW, [answer])
    return Written(write_json(answer.content), JSON, [answer])


def several(bundle: Bundle, body: bytes, work: Work, model: type[Batch], limits: Limits) -> Written:
    """Answer a batch: all of it, or none.

    Raises:
        AnswerError, RequestError: if the body, or one of its requests, is not as it should be.
    """
    requests = read_json(body, model).requests
    if len(requests) > limits.batch:
        raise RequestError("requests", f"{len(requests)} requests", f"at most {limits.batch} requests")
    total = sum(max(map(len, each.candidates.values()), default=0) for each in requests)
    if total > limits.candidates:
        raise RequestError("requests", f"{total} candidates", f"at most {limits.candidates} candidates in all")
    answers = []
    for place, each in enumerate(requests):
        try:
            answers.append(work(bundle, each, limits))
        except RequestError as error:
            raise RequestError(f"requests[{place}].{error.field}", error.value, error.rule) from None
    return Written(write_json({"results": [answer.content for answer in answers]}), JSON, answers)
