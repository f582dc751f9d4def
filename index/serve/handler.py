"""What the report server answers: pages, reports as they lie on the disk, and JSON (docs/guides/serving.md).

Every answer is checked for who asks (this machine, by the right name), says what the browser may do with it, and is
escaped: names of runs, titles and reasons are untrusted.
"""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from configs.errors import InputError
from index.serve.runs import RefusedError, embeddings_of
from index.serve.search import MOST_LETTERS, MOST_MATCHES, MOST_NEIGHBOURS
from prerank.pages.render import TEMPLATES as SHARED_TEMPLATES

if TYPE_CHECKING:
    from index.serve.server import ReportServer

OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-downloads allow-modals"
)
"""For a report, whose script and style are within it: a sandbox of no origin, from which nothing here can be read."""
PLAIN_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
TYPES = {
    ".html": ("text/html; charset=utf-8", REPORT_POLICY),
    ".svg": ("image/svg+xml; charset=utf-8", PLAIN_POLICY),
    ".json": ("application/json; charset=utf-8", PLAIN_POLICY),
    ".md": ("text/plain; charset=utf-8", PLAIN_POLICY),
    ".yaml": ("text/plain; charset=utf-8", PLAIN_POLICY),
}
TEMPLATES = Path(__file__).parents[1] / "templates" / "serve"
OWN_FILES = {
    "style.css": (TEMPLATES, "text/css; charset=utf-8"),
    "search.js": (TEMPLATES, "text/javascript; charset=utf-8"),
    "page.js": (SHARED_TEMPLATES, "text/javascript; charset=utf-8"),
}
"""Name → its folder and type."""
LONGEST_PATH = 4096
SECONDS_TO_ASK = 30


class _AnswerError(Exception):
    """A request that is answered with an error page."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: ReportServer
    timeout = SECONDS_TO_ASK
    server_version, sys_version = "grace", ""

    def do_GET(self) -> None:
        """Answer, or show on a readable page why not."""
        try:
            self._require_this_machine()
            self._answer()
        except _AnswerError as error:
            self.send_error(error.status, explain=error.reason)
        except InputError as error:
            self.send_error(HTTPStatus.CONFLICT, explain=str(error))
        except RefusedError as error:
            self.send_error(HTTPStatus.FORBIDDEN, explain=f"This is not shown: {error}.")
        except FileNotFoundError:
            self.send_error(HTTPStatus.NOT_FOUND, explain="There is no such run or report. The start page lists them.")
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True
        except Exception:
            traceback.print_exc(file=sys.stderr)
            reason = "This is a defect; the terminal in which the server runs has the details."
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=reason)

    def parse_request(self) -> bool:
        """Refuse what is not GET before anything is looked at."""
        if not super().parse_request():
            return False
        if self.command == "GET":
            return True
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, explain="Only GET is answered: nothing here can be changed.")
        return False

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """An error as a page, or as JSON for what asked for JSON; in place of the library's own page."""
        status = HTTPStatus(code)
        reason = explain or message or status.description or status.phrase
        self.close_connection = True
        try:
            if getattr(self, "path", "").startswith("/api/"):
                self._send_json({"error": reason}, status)
            else:
                self._send_page(
                    "error.html", {"status": status.value, "phrase": status.phrase, "reason": reason}, status
                )
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what was asked for is the reader's business."""

    def _require_this_machine(self) -> None:
        """Refuse other names of this machine, by which a page of the web could reach it (DNS rebinding)."""
        hosts = self.headers.get_all("Host") or []
        allowed = {f"{name}:{self.server.port}" for name in ("127.0.0.1", "localhost")}
        if self.server.port == 80:
            allowed |= {"127.0.0.1", "localhost"}
        if len(hosts) != 1 or hosts[0].strip().lower() not in allowed:
            reason = f"This server answers to 127.0.0.1:{self.server.port} and localhost:{self.server.port} alone."
            raise _AnswerError(HTTPStatus.MISDIRECTED_REQUEST, reason)
        if self.headers.get("Sec-Fetch-Site", "same-origin") in ("cross-site", "same-site") and (
            self.headers.get("Sec-Fetch-Mode") != "navigate"
        ):
            raise _AnswerError(HTTPStatus.FORBIDDEN, "Only pages of this server may ask it for data.")

    def _answer(self) -> None:
        if len(self.path) > LONGEST_PATH:
            raise _AnswerError(HTTPStatus.REQUEST_URI_TOO_LONG, f"An address has at most {LONGEST_PATH} letters.")
        address = urlsplit(self.path)
        if not self.path.startswith("/") or address.netloc:
            raise _AnswerError(HTTPStatus.BAD_REQUEST, "The address is none of this server.")
        parts, asked = _parts(address.path), parse_qs(address.query, max_num_fields=20)
        match parts:
            case []:
                self._send_page("runs.html", {"runs": [self._summary(name) for name in self.server.runs.names()]})
            case ["run", name]:
                self._send_page("run.html", self._run(name))
            case ["run", name, "file", *path] if path:
                self._send_file(self.server.runs.file(name, "/".join(path)))
            case ["search"]:
                self._send_page("search.html", {"limits": {"letters": MOST_LETTERS, "neighbours": MOST_NEIGHBOURS}})
            case ["api", endpoint] if endpoint in ENDPOINTS:
                self._send_json(ENDPOINTS[endpoint](self.server, asked))
            case ["-", name] if name in OWN_FILES:
                folder, kind = OWN_FILES[name]
                self._send((folder / name).read_bytes(), kind, OWN_POLICY)
            case ["favicon.ico"]:
                self._send(b"", "image/x-icon", OWN_POLICY, HTTPStatus.NO_CONTENT)
            case _:
                raise FileNotFoundError(address.path)

    def _summary(self, name: str) -> dict[str, Any]:
        return {**self.server.runs.summary(name), "embeddings": list(embeddings_of(self.server.runs, name))}

    def _run(self, name: str) -> dict[str, Any]:
        return {"run": self._summary(name), "files": self.server.runs.files(name)}

    def _send_page(self, template: str, content: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        text = _environment().get_template(template).render(**content)
        self._send(text.encode(), "text/html; charset=utf-8", OWN_POLICY, status)

    def _send_json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(
            json.dumps(content, allow_nan=False).encode(), "application/json; charset=utf-8", PLAIN_POLICY, status
        )

    def _send(self, body: bytes, kind: str, policy: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send_head(kind, policy, len(body), status)
        self.wfile.write(body)

    def _send_file(self, path: Path) -> None:
        kind, policy = TYPES[path.suffix]
        with path.open("rb") as file:
            size = path.stat().st_size
            self._send_head(kind, policy, size, HTTPStatus.OK)
            shutil.copyfileobj(file, self.wfile)

    def _send_head(self, kind: str, policy: str, size: int, status: HTTPStatus) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(size),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()


Asked = Mapping[str, list[str]]


def _list_runs(server: ReportServer, _asked: Asked) -> Any:
    return {"runs": [server.runs.summary(name) for name in server.runs.names()]}


def _list_embeddings(server: ReportServer, asked: Asked) -> Any:
    run = _word(asked, "run")
    return {"run": run, "embeddings": list(embeddings_of(server.runs, run))}


def _find_items(server: ReportServer, asked: Asked) -> Any:
    run, text = _word(asked, "run"), _word(asked, "q")
    limit = _number(asked, "limit", 20, MOST_MATCHES)
    return {"run": run, "q": text, "items": server.search.items(run).matches(text, limit)}


def _find_neighbours(server: ReportServer, asked: Asked) -> Any:
    names = [name for key in ("a", "b") for name in asked.get(key, [])[:1]]
    if not names:
        raise _AnswerError(HTTPStatus.BAD_REQUEST, "a=... is missing: psi or phi:<system>; /api/embeddings lists them.")
    among = asked.get("among", ["shared"])[0]
    if among not in ("shared", "all"):
        raise _AnswerError(HTTPStatus.BAD_REQUEST, "among must be shared or all.")
    k = _number(asked, "k", 10, MOST_NEIGHBOURS)
    return server.search.neighbours(_word(asked, "run"), _word(asked, "item"), names, k, among == "shared")


ENDPOINTS: dict[str, Callable[[ReportServer, Asked], Any]] = {
    "runs": _list_runs,
    "embeddings": _list_embeddings,
    "items": _find_items,
    "neighbours": _find_neighbours,
}


def _word(asked: Asked, key: str) -> str:
    if key not in asked:
        raise _AnswerError(HTTPStatus.BAD_REQUEST, f"{key}=... is missing.")
    return asked[key][0]


def _number(asked: Asked, key: str, default: int, most: int) -> int:
    text = asked.get(key, [str(default)])[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise _AnswerError(HTTPStatus.BAD_REQUEST, f"{key} must be a whole number from 1 to {most}.")
    return int(text)


def _parts(path: str) -> list[str]:
    """The parts of a path, each decoded after it was cut: an encoded slash cannot make a new part.

    Raises:
        FileNotFoundError: for a part that is empty, hidden, ``..``, or holds a slash or a null.
    """
    try:
        parts = [unquote(part, errors="strict") for part in path.split("/")[1:]]
    except UnicodeDecodeError:
        raise FileNotFoundError(path) from None
    if parts[-1:] == [""]:
        parts = parts[:-1]
    for part in parts:
        if not part or part.startswith(".") or any(sign in part for sign in "/\\\0"):
            raise FileNotFoundError(path)
    return parts


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("index", "templates/serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["address"] = lambda text: "/".join(quote(part, safe="") for part in text.split("/"))
    environment.filters["figure"] = _figure
    return environment


def _figure(found: Mapping[str, Any]) -> str:
    """A figure with its interval and n, as a line of text."""
    span = "" if found.get("low") is None else f" ({found['low']:.3f} to {found['high']:.3f})"
    n = found.get("n")
    return f"{found['value']:.3f}{span}" + (f", n {n:,}" if isinstance(n, int) else "")
