"""``python -m index.serve``: all reports of ``runs_folder`` in a browser of this machine, and search over their items.

It listens on 127.0.0.1 alone, reads and never writes, and runs nothing that it reads: reports are sent as they are,
into a sandbox of the browser that cannot ask this server for anything. What was asked for is the reader's business:
only defects are logged.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from configs.command import Invocation
from configs.console import say
from index.serve.answers import Answers, failure
from index.serve.runs import RunsFolder
from prerank.web.errors import ErrorAnswers, as_answer_error
from prerank.web.guards import OwnPages, PlainPaths, ReadOnly
from prerank.web.headers import SafeHeaders
from prerank.web.logs import RequestLog
from prerank.web.server import THIS_MACHINE, Server, listen

SECONDS_TO_END = 5
"""That an answer may still take after Ctrl-C."""


def reports(runs: RunsFolder, port: int) -> Starlette:
    """The application: the first of its layers sees a request first."""
    application = Starlette(
        routes=Answers.of(runs).routes,
        middleware=[
            Middleware(RequestLog, failures_only=True),
            Middleware(SafeHeaders),
            Middleware(ErrorAnswers, answer=failure),
            Middleware(ReadOnly),
            Middleware(OwnPages, port=port),
            Middleware(PlainPaths),
        ],
        exception_handlers={HTTPException: as_answer_error},
    )
    application.router.redirect_slashes = False
    return application


def server_of(invocation: Invocation) -> Server:
    """A server that listens but does not answer yet, for programs that run it themselves.

    Raises:
        InputError: if ``runs_folder`` does not exist, or the port is taken.
    """
    runs = RunsFolder.open(invocation.config.runs_folder)
    listener = listen(THIS_MACHINE, invocation.config.serve.port, "serve")
    return Server(reports(runs, listener.getsockname()[1]), listener, seconds_to_end=SECONDS_TO_END, lifespan="off")


def serve(invocation: Invocation) -> None:
    """Show all reports of ``runs_folder`` until interrupted (Ctrl-C).

    Raises:
        InputError: if ``runs_folder`` does not exist, or ``serve.port`` is taken.
    """
    runs = RunsFolder.open(invocation.config.runs_folder)
    server = server_of(invocation)
    say(f"{len(runs.names())} runs of {invocation.config.runs_folder}: {server.url} (Ctrl-C stops)")
    server.run()
    say("stopped")
