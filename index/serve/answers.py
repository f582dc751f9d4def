"""What the report server answers to an address: pages, files as they lie on the disk, and JSON.

``docs/guides/serving.md`` lists the addresses. Names of runs, titles and reasons are untrusted: everything is
escaped, and each answer says what the browser may do with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from markupsafe import Markup

from index.serve.runs import KEY_METRICS, RunFile, RunsFolder, embeddings_of
from index.serve.search import MOST_LETTERS, MOST_MATCHES, MOST_NEIGHBOURS, ItemSearch
from prerank.evaluation.figure import Figure
from prerank.pages.numbers import UNKNOWN, figure
from prerank.pages.render import TEMPLATES as SHARED_TEMPLATES
from prerank.pages.render import render_page
from prerank.pages.table import Table

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
LONGEST_PATH = 4096

Parameters = Mapping[str, list[str]]
"""Of an address: what stands behind its question mark."""


class AnswerError(Exception):
    """An address that is answered with an error page."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Response:
    """What is sent: a body, or a file as it lies on the disk.

    Attributes:
        body: text as bytes, or the file's path.
        kind: its type and encoding.
        policy: what the browser may do with it.
        status: of the answer.
    """

    body: bytes | Path
    kind: str
    policy: str
    status: HTTPStatus = HTTPStatus.OK


@dataclass(frozen=True)
class Answers:
    """Answers from one folder of runs.

    Attributes:
        runs: what is shown.
        search: over their items.
    """

    runs: RunsFolder
    search: ItemSearch

    @classmethod
    def of(cls, runs: RunsFolder) -> Answers:
        return cls(runs, ItemSearch(runs))

    def to(self, address: str) -> Response:
        """The answer to a path with its parameters.

        Raises:
            AnswerError: if the address or a parameter is not one that is answered.
            FileNotFoundError: if there is nothing.
            InputError, RefusedError: if a run has not what is asked for, or it may not be shown.
        """
        if len(address) > LONGEST_PATH:
            raise AnswerError(HTTPStatus.REQUEST_URI_TOO_LONG, f"An address has at most {LONGEST_PATH} letters.")
        url = urlsplit(address)
        if not address.startswith("/") or url.netloc:
            raise AnswerError(HTTPStatus.BAD_REQUEST, "The address is none of this server.")
        match _parts(url.path):
            case []:
                return page("runs.html", runs=[self._facts(name) for name in self.runs.names()])
            case ["run", name]:
                return page("run.html", run=self._facts(name), files=_file_tables(name, self.runs.files(name)))
            case ["run", name, "file", *path] if path:
                file = self.runs.file(name, "/".join(path))
                return Response(file, *TYPES[file.suffix])
            case ["search"]:
                return page("search.html", limits={"letters": MOST_LETTERS, "neighbours": MOST_NEIGHBOURS})
            case ["api", endpoint] if endpoint in ENDPOINTS:
                return as_json(ENDPOINTS[endpoint](self, parse_qs(url.query, max_num_fields=20)))
            case ["-", name] if name in OWN_FILES:
                folder, kind = OWN_FILES[name]
                return Response((folder / name).read_bytes(), kind, OWN_POLICY)
            case ["favicon.ico"]:
                return Response(b"", "image/x-icon", OWN_POLICY, HTTPStatus.NO_CONTENT)
            case _:
                raise FileNotFoundError(url.path)

    def _facts(self, name: str) -> dict[str, Any]:
        """What a page says of a run: its summary with figures and tables in place of JSON."""
        summary = self.runs.summary(name)
        rows = [
            (
                system,
                *(figure(Figure.read(figures[metric])) if metric in figures else UNKNOWN for metric in KEY_METRICS),
            )
            for system, figures in summary["systems"].items()
        ]
        audit = summary["audit"] and {**summary["audit"], "figure": Figure.read(summary["audit"])}
        embeddings = list(embeddings_of(self.runs, name))
        systems = Table(("system", *KEY_METRICS), rows, f"key figures of {name}")
        return {**summary, "systems": systems, "audit": audit, "embeddings": embeddings}


def page(template: str, status: HTTPStatus = HTTPStatus.OK, **content: Any) -> Response:
    """A page of the server's own."""
    return Response(render_page(template, HERE, **content).encode(), HTML, OWN_POLICY, status)


def as_json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Strict JSON."""
    return Response(json.dumps(content, allow_nan=False).encode(), JSON, PLAIN_POLICY, status)


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


def _list_runs(answers: Answers, _parameters: Parameters) -> Any:
    return {"runs": [answers.runs.summary(name) for name in answers.runs.names()]}


def _list_embeddings(answers: Answers, parameters: Parameters) -> Any:
    run = _word(parameters, "run")
    return {"run": run, "embeddings": list(embeddings_of(answers.runs, run))}


def _find_items(answers: Answers, parameters: Parameters) -> Any:
    run, text = _word(parameters, "run"), _word(parameters, "q")
    limit = _number(parameters, "limit", 20, MOST_MATCHES)
    return {"run": run, "q": text, "items": answers.search.items(run).matches(text, limit)}


def _find_neighbours(answers: Answers, parameters: Parameters) -> Any:
    names = [name for key in ("a", "b") for name in parameters.get(key, [])[:1]]
    if not names:
        raise AnswerError(HTTPStatus.BAD_REQUEST, "a=... is missing: psi or phi:<system>; /api/embeddings lists them.")
    among = parameters.get("among", ["shared"])[0]
    if among not in ("shared", "all"):
        raise AnswerError(HTTPStatus.BAD_REQUEST, "among must be shared or all.")
    k = _number(parameters, "k", 10, MOST_NEIGHBOURS)
    run, item = _word(parameters, "run"), _word(parameters, "item")
    return answers.search.neighbours(run, item, names, k, among == "shared")


ENDPOINTS: dict[str, Callable[[Answers, Parameters], Any]] = {
    "runs": _list_runs,
    "embeddings": _list_embeddings,
    "items": _find_items,
    "neighbours": _find_neighbours,
}


def _word(parameters: Parameters, key: str) -> str:
    if key not in parameters:
        raise AnswerError(HTTPStatus.BAD_REQUEST, f"{key}=... is missing.")
    return parameters[key][0]


def _number(parameters: Parameters, key: str, default: int, most: int) -> int:
    text = parameters.get(key, [str(default)])[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise AnswerError(HTTPStatus.BAD_REQUEST, f"{key} must be a whole number from 1 to {most}.")
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
