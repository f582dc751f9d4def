"""The routes of the service, and what stands before them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from configs.manual import version
from configs.schema import ServiceConfig
from prerank.service import models, work
from prerank.service.bodies import ARROW, JSON, write_json
from prerank.service.bundles import Bundle, Bundles
from prerank.service.metrics import Measured, Metrics
from prerank.service.queue import SOON, Queue
from prerank.service.schema import body_of, describe
from prerank.serving.request import RequestError, short
from prerank.web import bodies
from prerank.web.errors import AnswerError, ErrorAnswers, as_answer_error
from prerank.web.guards import OWN_NAMES, OwnPages
from prerank.web.headers import SafeHeaders
from prerank.web.logs import RequestLog, traceback_of

REFUSALS = {
    400: "no JSON, no Arrow stream, or a body that ends early",
    403: "asked by a page of another site",
    408: "the body was not there in time",
    413: "a body that is too long",
    415: "a body of another type",
    421: "asked by another name than this server's",
    422: "a field that cannot be scored: field, value and rule say why",
    429: "too many requests are waiting: try again after Retry-After",
    500: "a defect of the service",
    503: "no bundle yet, or the request's turn had not come in time",
    504: "the scores were not there in time",
}
NAMES = (*OWN_NAMES, "[::1]")
"""Of this machine, by all of which `service.host` may be told to listen."""
METRICS = "text/plain; version=0.0.4; charset=utf-8"
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Responses = dict[int | str, dict[str, Any]]
Run = Callable[[Bundle, bytes], work.Written]


@dataclass(frozen=True)
class Offer:
    """One thing that is offered, for one request at ``path`` and for several at ``/batch`` and ``path``."""

    path: str
    work: work.Work
    body: type[models.CandidatesRequest]
    answer: type[BaseModel]
    batch: type[models.Batch]
    batch_answer: type[BaseModel]
    columns: bool = True
    """Whether the answer has columns, that Arrow could hold."""


OFFERS = (
    Offer("/score", work.score, models.ScoreRequest, models.Scored, models.ScoreBatch, models.ScoredBatch),
    Offer("/top", work.top, models.TopRequest, models.Topped, models.TopBatch, models.ToppedBatch),
    Offer(
        *("/explain", work.explain, models.ExplainRequest, models.Explained),
        *(models.ExplainBatch, models.ExplainedBatch),
        columns=False,
    ),
)


class Service:
    """Answers of one process.

    Args:
        config: the limits.
        bundles: what scores.
    """

    def __init__(self, config: ServiceConfig, bundles: Bundles) -> None:
        self.config, self.bundles = config, bundles
        self.limits = work.Limits(config.candidates, config.batch)
        self.queue = Queue(config.queue, config.workers, config.time_limit_ms / 1000)
        self.metrics = Metrics(self.queue, bundles)
        self._described: tuple[str, dict[str, Any]] | None = None

    def application(self, lifespan: Lifespan | None = None, port: int | None = None) -> FastAPI:
        """What a server runs.

        Args:
            lifespan: what happens before the first request and after the last one.
            port: that this machine alone is answered on; None: everybody is, by any name.
        """
        application = FastAPI(
            title="GRACE pre-ranking",
            version=version(),
            description="Scores the candidates of a search request.",
            docs_url=None,
            redoc_url=None,
            lifespan=lifespan,
        )
        application.add_exception_handler(HTTPException, as_answer_error)
        application.router.redirect_slashes = False
        for offer in OFFERS:
            self._add(application, offer)
        application.get("/health", response_model=models.Health)(self.health)
        unready: Responses = {503: {"model": models.Failure, "description": REFUSALS[503]}}
        application.get("/ready", response_model=models.Readiness, responses=unready)(self.ready)
        shown: Responses = {
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text"}
        }
        application.get("/metrics", response_class=Response, responses=shown)(self.measured)
        application.openapi = partial(self._openapi, application)  # type: ignore[method-assign]
        paths = [route.path for route in application.routes]  # type: ignore[attr-defined]
        layers = [
            Middleware(RequestLog),
            Middleware(Measured, metrics=self.metrics, routes=paths),
            Middleware(SafeHeaders),
            Middleware(ErrorAnswers, answer=failure),
            *([] if port is None else [Middleware(OwnPages, port=port, names=NAMES)]),
        ]
        application.user_middleware.extend(layers)  # the first one sees a request first
        return application

    async def health(self) -> Response:
        """The process answers."""
        return _json({"alive": True})

    async def ready(self) -> Response:
        """A bundle is loaded, has passed its golden requests, and is warm."""
        current, previous = self.bundles.current, self.bundles.previous
        if current is None:
            raise AnswerError(HTTPStatus.SERVICE_UNAVAILABLE, "The bundle is still being loaded.", SOON)
        return _json({"ready": True, "current": current.facts, "previous": previous and previous.facts})

    async def measured(self) -> Response:
        """What Prometheus reads."""
        return Response(self.metrics.text(), media_type=METRICS)

    def _add(self, application: FastAPI, offer: Offer) -> None:
        async def one(request: Request) -> Response:
            arrow = _kind(request, JSON, ARROW) == ARROW
            wants_arrow = offer.columns and ARROW in request.headers.get("accept", "")
            return await self._answer(
                request,
                lambda bundle, body: work.one(bundle, body, offer.work, offer.body, self.limits, arrow, wants_arrow),
            )

        async def several(request: Request) -> Response:
            _kind(request, JSON)
            return await self._answer(
                request, lambda bundle, body: work.several(bundle, body, offer.work, offer.batch, self.limits)
            )

        refusals: Responses = {
            status: {"model": models.Failure, "description": reason} for status, reason in REFUSALS.items()
        }
        name = offer.path[1:]
        arrow_answer: Responses = {200: {"content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}}}
        application.post(
            offer.path,
            name=name,
            response_model=offer.answer,
            responses=refusals | (arrow_answer if offer.columns else {}),
            openapi_extra=body_of(offer.body, arrow=True),
        )(one)
        application.post(
            f"/batch{offer.path}",
            name=f"{name}_batch",
            response_model=offer.batch_answer,
            responses=refusals,
            openapi_extra=body_of(offer.batch, arrow=False),
        )(several)

    async def _answer(self, request: Request, run: Run) -> Response:
        if self.bundles.current is None:
            raise AnswerError(HTTPStatus.SERVICE_UNAVAILABLE, "The bundle is still being loaded.", SOON)

        def worked(body: bytes) -> work.Written:
            bundle = self.bundles.current
            assert bundle is not None
            return run(bundle, body)

        written = await self.queue.answer(lambda: bodies.read_body(request, self.config.body_bytes), worked)
        for answer in written.answers:
            self.metrics.note(answer.candidates, answer.unknown, answer.missing)
        request.state.facts.update(
            candidates=sum(answer.candidates for answer in written.answers),
            unknown=sum(answer.unknown for answer in written.answers),
            bundle=written.answers[0].beside["bundle"],
        )
        return Response(written.body, media_type=written.kind)

    def _openapi(self, application: FastAPI) -> dict[str, Any]:
        bundle = self.bundles.current
        identity = "" if bundle is None else bundle.identity
        if self._described is None or self._described[0] != identity:
            self._described = identity, describe(application, bundle, self.config.candidates, self.config.batch)
        return self._described[1]


def failure(request: Request, error: Exception) -> Response:
    """Why there is no answer."""
    about: dict[str, str] = {}
    headers: dict[str, str] = {}
    if isinstance(error, RequestError):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        about = {"field": error.field, "value": short(error.value), "rule": error.rule}
    elif isinstance(error, AnswerError):
        status, headers = error.status, error.headers
    else:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        request.state.facts["traceback"] = traceback_of(error)
        error = Exception("This is a defect; the log has the details under this request_id.")
    request.state.facts["error"] = str(error)
    content = {"error": str(error), **about, "request_id": request.state.request_id}
    return Response(write_json(content), status, headers, JSON)


def _kind(request: Request, *kinds: str) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in kinds:
        reason = f"Content-Type must be {' or '.join(kinds)}, found {short(kind)}."
        raise AnswerError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)
    return kind


def _json(content: Any) -> Response:
    return Response(write_json(content), media_type=JSON)
