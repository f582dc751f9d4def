"""One request to the report server: who asks (this machine, by the right name), the answer, and how it is sent."""

from __future__ import annotations

import shutil
import sys
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from configs.errors import InputError
from index.serve.answers import AnswerError, Answers, Response, as_json, page
from index.serve.runs import RefusedError

SECONDS_TO_ASK = 30


class Answering(Protocol):
    """What a handler needs of its server."""

    answers: Answers

    @property
    def port(self) -> int: ...


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Answering  # type: ignore[assignment]
    timeout = SECONDS_TO_ASK
    server_version, sys_version = "grace", ""

    def do_GET(self) -> None:
        """Answer, or show on a readable page why not."""
        try:
            self._require_this_machine()
            self._send(self.server.answers.to(self.path))
        except AnswerError as error:
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
                self._send(as_json({"error": reason}, status))
            else:
                self._send(page("error.html", status, code=status.value, phrase=status.phrase, reason=reason))
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
            raise AnswerError(HTTPStatus.MISDIRECTED_REQUEST, reason)
        if self.headers.get("Sec-Fetch-Site", "same-origin") in ("cross-site", "same-site") and (
            self.headers.get("Sec-Fetch-Mode") != "navigate"
        ):
            raise AnswerError(HTTPStatus.FORBIDDEN, "Only pages of this server may ask it for data.")

    def _send(self, answer: Response) -> None:
        if isinstance(answer.body, bytes):
            self._send_head(answer, len(answer.body))
            self.wfile.write(answer.body)
            return
        with answer.body.open("rb") as file:
            self._send_head(answer, answer.body.stat().st_size)
            shutil.copyfileobj(file, self.wfile)

    def _send_head(self, answer: Response, size: int) -> None:
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": answer.kind,
            "Content-Length": str(size),
            "Content-Security-Policy": answer.policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
