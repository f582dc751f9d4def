"""Requests that cannot be answered as they were meant, and what is answered in place of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AnswerError(Exception):
    """A request that is not answered as it was meant.

    Args:
        status: of the answer.
        reason: a sentence for whoever asked.
        headers: of the answer, besides the usual ones.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = HTTPStatus(status), reason, dict(headers or {})


def as_answer_error(_request: Request, error: Exception) -> Response:
    """Starlette's own errors (no such address, another method) as ours, so that one place answers all."""
    assert isinstance(error, HTTPException)
    raise AnswerError(error.status_code, error.detail, error.headers) from None


class ErrorAnswers:
    """Answers what the application raises, as long as it has sent nothing yet.

    Args:
        app: what is guarded.
        answer: an error as a response; a defect of ours comes here too.
    """

    def __init__(self, app: ASGIApp, answer: Callable[[Request, Exception], Response]) -> None:
        self.app, self.answer = app, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            await self.answer(Request(scope), error)(scope, receive, send)
