"""Who may ask, and for which addresses: looked at before anything of the application runs."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from prerank.web.errors import AnswerError

LONGEST_ADDRESS = 4096
OWN_NAMES = ("127.0.0.1", "localhost")


class ReadOnly:
    """Answers GET and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] != "GET":
            reason = "Only GET is answered: nothing here can be changed."
            raise AnswerError(HTTPStatus.METHOD_NOT_ALLOWED, reason, {"Allow": "GET"})
        await self.app(scope, receive, send)


class OwnPages:
    """Answers only what is asked by this server's own name, and by no page of another site.

    Other names of this machine are refused, by which a page of the web could reach it (DNS rebinding).

    Args:
        app: what is guarded.
        port: that the server listens on.
        names: of this machine.
    """

    def __init__(self, app: ASGIApp, port: int, names: Collection[str] = OWN_NAMES) -> None:
        self.app = app
        self.hosts = tuple(f"{name}:{port}" for name in names)
        self.allowed = {*self.hosts, *(names if port == 80 else ())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            hosts = headers.getlist("host")
            if len(hosts) != 1 or hosts[0].strip().lower() not in self.allowed:
                reason = f"This server answers to {' and '.join(self.hosts)} alone."
                raise AnswerError(HTTPStatus.MISDIRECTED_REQUEST, reason)
            elsewhere = headers.get("sec-fetch-site", "same-origin") in ("cross-site", "same-site")
            if elsewhere and headers.get("sec-fetch-mode") != "navigate":
                raise AnswerError(HTTPStatus.FORBIDDEN, "Only pages of this server may ask it for data.")
        await self.app(scope, receive, send)


class PlainPaths:
    """Hands on the parts of a path as they stand between its slashes, each decoded after the path was cut.

    An encoded slash cannot make a new part; a part that is empty, hidden, ``..``, no UTF-8, or that holds a slash or
    a null is no address here. One slash at the end is left out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            address = scope["raw_path"]
            if len(address) + len(scope["query_string"]) >= LONGEST_ADDRESS:
                raise AnswerError(HTTPStatus.REQUEST_URI_TOO_LONG, f"An address has at most {LONGEST_ADDRESS} letters.")
            if not address.startswith(b"/"):
                raise AnswerError(HTTPStatus.BAD_REQUEST, "The address is none of this server.")
            scope = {**scope, "path": "/" + "/".join(_parts(address.decode("latin-1")))}
        await self.app(scope, receive, send)


def _parts(path: str) -> list[str]:
    try:
        parts = [unquote(part, errors="strict") for part in path.split("/")[1:]]
    except UnicodeDecodeError:
        raise AnswerError(HTTPStatus.NOT_FOUND, "The address is no UTF-8.") from None
    if parts[-1:] == [""]:
        parts = parts[:-1]
    for part in parts:
        if not part or part.startswith(".") or any(sign in part for sign in "/\\\0"):
            raise AnswerError(HTTPStatus.NOT_FOUND, "There is no such address.")
    return parts
