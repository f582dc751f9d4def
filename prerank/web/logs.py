"""A line of JSON about each request, and an id by which the line and its answer find each other."""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "X-Request-ID"
PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""What an id that comes with the request may consist of; another one is replaced."""
LONGEST_PATH = 200


def write_line(level: str, event: str, **facts: Any) -> None:
    """Write one line of JSON to standard error, with the time in UTC."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "level": level, "event": event, **facts}, default=str)
    print(line, file=sys.stderr, flush=True)


def traceback_of(error: BaseException) -> list[str]:
    """A traceback as a line of the log holds it: a list of lines."""
    return "".join(traceback.format_exception(error)).splitlines()


class RequestLog:
    """Gives each request an id, in the answer's ``X-Request-ID``, and writes a line when it is answered.

    The application may add facts to the line: ``scope["state"]["facts"]``. A request that was cut off before it was
    answered has status 0.

    Args:
        app: what is logged.
        failures_only: say nothing of requests unless they failed by a defect of ours.
    """

    def __init__(self, app: ASGIApp, failures_only: bool = False) -> None:
        self.app, self.failures_only = app, failures_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = wanted if PLAIN.fullmatch(wanted) else secrets.token_hex(8)
        facts: dict[str, Any] = {}
        scope.setdefault("state", {}).update(request_id=request_id, facts=facts)
        started, status = time.perf_counter(), 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self.app(scope, receive, named)
        finally:
            if status >= 500 or status == 0 or not self.failures_only:
                write_line(
                    "error" if status == 500 else "warning" if status > 500 else "info",
                    "request",
                    request_id=request_id,
                    method=scope["method"],
                    path=scope["path"][:LONGEST_PATH],
                    status=status,
                    ms=round(1000 * (time.perf_counter() - started), 3),
                    **facts,
                )
