"""What the report server answers to an address: pages, files as they lie on the disk, and JSON.

``docs/guides/report_server.md`` lists the addresses. Names of runs, titles and reasons are untrusted: everything is
escaped, and each answer says what the browser may do with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from configs.errors import InputError
from index.serve.runs import KEY_METRICS, RefusedError, RunFile, RunsFolder, embeddings_of, without_items
from index.serve.search import MOST_LETTERS, MOST_MATCHES, MOST_NEIGHBOURS, ItemSearch
from prerank.pages.numbers import UNKNOWN, figure
from prerank.pages.render import TEMPLATES as SHARED_TEMPLATES
from prerank.pages.render import render_page
from prerank.pages.table import Table
from prerank.web.errors import AnswerError
from prerank.web.logs import traceback_of

POLICY = "Content-Security-Policy"
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
HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json; charset=utf-8", "text/plain; charset=utf-8"
TYPES = {
    ".html": (HTML, REPORT_POLICY),
    ".svg": ("image/svg+xml; charset=utf-8", PLAIN_POLICY),
    ".json": (JSON, PLAIN_POLICY),
    ".md": (TEXT, PLAIN_POLICY),
    ".yaml": (TEXT, PLAIN_POLICY),
}
HERE = Path(__file__).parent
OWN_FILES = {
    "page.css": (SHARED_TEMPLATES, "text/css; charset=utf-8"),
    "print.css": (SHARED_TEMPLATES, "text/css; charset=utf-8"),
    "serve.css": (HERE / "templates", "text/css; charset=utf-8"),
    "page.js": (SHARED_TEMPLATES, "text/javascript; charset=utf-8"),
    "search.js": (HERE / "templates", "text/javascript; charset=utf-8"),
}
"""Name → its folder and type."""


@dataclass(frozen=True)
class Answers:
    """Answers from one folder of runs; each runs in a thread of its own, as it may search for a while.

    Attributes:
        runs: what is shown.
        search: over their items.
    """

    runs: RunsFolder
    search: ItemSearch

    @classmethod
    def of(cls, runs: RunsFolder) -> Answers:
        return cls(runs, ItemSearch(runs))

    @property
    def routes(self) -> list[Route]:
        """Every address that is answered."""
        answers: dict[str, Callable[[Request], Response]] = {
            "/": self.list_of_runs,
            "/run/{run}": self.run,
            "/run/{run}/file/{path:path}": self.file,
            "/search": self.search_page,
            "/api/runs": self.runs_as_json,
            "/api/embeddings": self.embeddings,
            "/api/items": self.items,
            "/api/neighbours": self.neighbours,
            "/-/{name}": self.own_file,
            "/favicon.ico": self.no_icon,
        }
        return [Route(path, answer) for path, answer in answers.items()]

    def list_of_runs(self, _request: Request) -> Response:
        return page("runs.html", runs=[self._facts(name) for name in self.runs.names()])

    def run(self, request: Request) -> Response:
        name = request.path_params["run"]
        return page("run.html", run=self._facts(name), files=_file_tables(name, self.runs.files(name)))

    def file(self, request: Request) -> Response:
        file = self.runs.file(request.path_params["run"], request.path_params["path"])
        kind, policy = TYPES[file.suffix]
        return FileResponse(file, media_type=kind, headers={POLICY: policy})

    def search_page(self, _request: Request) -> Response:
        return page("search.html", limits={"letters": MOST_LETTERS, "neighbours": MOST_NEIGHBOURS})

    def runs_as_json(self, _request: Request) -> Response:
        return as_json({"runs": [self.runs.summary(name).as_json() for name in self.runs.names()]})

    def embeddings(self, request: Request) -> Response:
        run = _word(request, "run")
        embeddings = list(embeddings_of(self.runs, run))
        none = None if embeddings else f"this run has no embeddings{without_items(self.runs.run(run))}"
        return as_json({"run": run, "embeddings": embeddings, "reason": none})

    def items(self, request: Request) -> Response:
        run, text = _word(request, "run"), _word(request, "q")
        limit = _number(request, "limit", 20, MOST_MATCHES)
        return as_json({"run": run, "q": text, "items": self.search.items(run).matches(text, limit)})

    def neighbours(self, request: Request) -> Response:
        names = [name for key in ("a", "b") for name in _words(request, key)[:1]]
        if not names:
            raise AnswerError(
                HTTPStatus.BAD_REQUEST, "a=... is missing: psi or phi:<system>; /api/embeddings lists them."
            )
        among = (_words(request, "among") or ["shared"])[0]
        if among not in ("shared", "all"):
            raise AnswerError(HTTPStatus.BAD_REQUEST, "among must be shared or all.")
        k = _number(request, "k", 10, MOST_NEIGHBOURS)
        run, item = _word(request, "run"), _word(request, "item")
        return as_json(self.search.neighbours(run, item, names, k, among == "shared"))

    def own_file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in OWN_FILES:
            raise FileNotFoundError(name)
        folder, kind = OWN_FILES[name]
        return FileResponse(folder / name, media_type=kind, headers={POLICY: OWN_POLICY})

    def no_icon(self, _request: Request) -> Response:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={POLICY: OWN_POLICY})

    def _facts(self, name: str) -> dict[str, Any]:
        """What a page says of a run: its summary, with a table of its systems and the embeddings that it has."""
        summary = self.runs.summary(name)
        rows = [
            (system, *(figure(figures[metric]) if metric in figures else UNKNOWN for metric in KEY_METRICS))
            for system, figures in summary.systems.items()
        ]
        systems = Table(("system", *KEY_METRICS), rows, f"key figures of {name}")
        return {**vars(summary), "systems": systems, "embeddings": list(embeddings_of(self.runs, name))}


def page(template: str, status: HTTPStatus = HTTPStatus.OK, **content: Any) -> Response:
    """A page of the server's own."""
    text = render_page(template, HERE, **content)
    return Response(text, status, {POLICY: OWN_POLICY}, HTML)


def as_json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Strict JSON."""
    return Response(json.dumps(content, allow_nan=False), status, {POLICY: PLAIN_POLICY}, JSON)


def failure(request: Request, error: Exception) -> Response:
    """Why there is no answer: as a page, or as JSON for what asked for JSON."""
    refused = _answer_error(request, error)
    status, reason = refused.status, refused.reason
    if request.scope["raw_path"].startswith(b"/api/"):
        answer = as_json({"error": reason}, status)
    else:
        answer = page("error.html", status, code=status.value, phrase=status.phrase, reason=reason)
    answer.headers.update(refused.headers)
    return answer


def _answer_error(request: Request, error: Exception) -> AnswerError:
    if isinstance(error, FileNotFoundError) or (
        isinstance(error, AnswerError) and error.status == HTTPStatus.NOT_FOUND
    ):
        return AnswerError(HTTPStatus.NOT_FOUND, "There is no such run or report. The start page lists them.")
    if isinstance(error, AnswerError):
        return error
    if isinstance(error, InputError):
        return AnswerError(HTTPStatus.CONFLICT, str(error))
    if isinstance(error, RefusedError):
        return AnswerError(HTTPStatus.FORBIDDEN, f"This is not shown: {error}.")
    request.state.facts["traceback"] = traceback_of(error)
    reason = "This is a defect; the terminal in which the server runs has the details."
    return AnswerError(HTTPStatus.INTERNAL_SERVER_ERROR, reason)


def _file_tables(run: str, files: list[RunFile]) -> list[Table]:
    link = Markup('<a href="/run/{}/file/{}">{}</a>')
    tables = []
    for title, kind, pages in (("Reports", "report", True), ("Files", "file", False)):
        rows = [
            (
                link.format(quote(run, safe=""), quote(file.path), file.title if pages else file.path),
                file.written,
                f"{file.size / 1000:,.0f} kB",
            )
            for file in files
            if file.is_page == pages
        ]
        tables.append(Table((kind, "written (UTC)", "size"), rows, title))
    return tables


def _words(request: Request, key: str) -> list[str]:
    return [text for text in request.query_params.getlist(key) if text]


def _word(request: Request, key: str) -> str:
    texts = _words(request, key)
    if not texts:
        raise AnswerError(HTTPStatus.BAD_REQUEST, f"{key}=... is missing.")
    return texts[0]


def _number(request: Request, key: str, default: int, most: int) -> int:
    text = (_words(request, key) or [str(default)])[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise AnswerError(HTTPStatus.BAD_REQUEST, f"{key} must be a whole number from 1 to {most}.")
    return int(text)
