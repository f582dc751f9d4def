"""``python -m index.serve``: all reports of ``runs_folder`` in a browser of this machine, and search over their items.

A small server of the standard library. It listens on 127.0.0.1 alone, reads and never writes, and runs nothing that it
reads: reports are sent as they are, into a sandbox of the browser that cannot ask this server for anything.
"""

from __future__ import annotations

import errno
from http.server import ThreadingHTTPServer

from configs.command import Invocation
from configs.console import say
from configs.errors import InputError
from index.serve.answers import Answers
from index.serve.handler import Handler
from index.serve.runs import RunsFolder

ADDRESS = "127.0.0.1"


class ReportServer(ThreadingHTTPServer):
    """Answers each request in a thread of its own; ``serve_forever`` to run it, ``shutdown`` to stop it.

    Args:
        port: of 127.0.0.1; 0: a free one.
        runs: what is shown.

    Raises:
        InputError: if the port is taken or may not be used.
    """

    daemon_threads = True

    def __init__(self, port: int, runs: RunsFolder) -> None:
        self.answers = Answers.of(runs)
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            state = "is in use" if error.errno == errno.EADDRINUSE else "may not be used by this user"
            raise InputError(
                f"port {port} of {ADDRESS} {state}: give another by serve.port=..., or serve.port=0 for a free one"
            ) from None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return f"http://{ADDRESS}:{self.port}/"


def server_of(invocation: Invocation) -> ReportServer:
    """A server that listens but does not answer yet, for programs that run it themselves.

    Raises:
        InputError: if ``runs_folder`` does not exist, or the port is taken.
    """
    return ReportServer(invocation.config.serve.port, RunsFolder.open(invocation.config.runs_folder))


def serve(invocation: Invocation) -> None:
    """Show all reports of ``runs_folder`` until interrupted (Ctrl-C).

    Raises:
        InputError: if ``runs_folder`` does not exist, or ``serve.port`` is taken.
    """
    with server_of(invocation) as server:
        say(f"{len(server.answers.runs.names())} runs of {invocation.config.runs_folder}: {server.url} (Ctrl-C stops)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")
