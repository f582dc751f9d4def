"""A server that listens from the start, is patient for a while, and ends when it is told to."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from configs.errors import InputError

SECONDS_TO_ASK = 30
"""In which a connection has to send a whole head of a request, the first one or the next."""
LONGEST_HEAD = 64 * 1024
"""Bytes of a request before its body."""
THIS_MACHINE = "127.0.0.1"
UNUSABLE = {
    errno.EADDRINUSE: "is in use",
    errno.EACCES: "may not be used by this user",
    errno.EADDRNOTAVAIL: "is of no address of this machine",
}


def listen(host: str, port: int, section: str) -> socket.socket:
    """A socket that takes connections from now on.

    Args:
        host: a numeric address, or a name, of this machine.
        port: 0: a free one.
        section: of the configuration that states both, for errors.

    Raises:
        InputError: if the port is taken or may not be used, or the host is not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"{section}.host={host} is no address of this machine: {error.strerror}") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno not in UNUSABLE:
            raise
        raise InputError(
            f"port {port} of {host} {UNUSABLE[error.errno]}: give another by {section}.port=..., or "
            f"{section}.port=0 for a free one"
        ) from None
    return listener


class Server(uvicorn.Server):
    """An application on a listening socket.

    ``run`` answers until SIGINT or SIGTERM, or until ``stop``; what has been taken is finished first. A second SIGINT
    ends at once.

    Args:
        app: what answers.
        listener: from :func:`listen`.
        protocol: class of uvicorn's HTTP protocol.
        seconds_to_end: in which requests that were taken may be finished; None: all the time that they need.
        options: of ``uvicorn.Config``.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        protocol: type[asyncio.Protocol] = H11Protocol,
        seconds_to_end: int | None = None,
        **options: Any,
    ) -> None:
        self.listener = listener
        super().__init__(
            uvicorn.Config(
                app,
                http=_impatient(protocol),
                ws="none",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=SECONDS_TO_ASK,
                timeout_graceful_shutdown=seconds_to_end,
                **options,
            )
        )

    @property
    def url(self) -> str:
        """What to open."""
        host, port = self.listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.listener.getsockname()[1])

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until told to end."""
        super().run([self.listener] if sockets is None else sockets)

    def stop(self) -> None:
        """Let ``run`` end; from any thread."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal ends the server and is done with: uvicorn would raise it once more after the end."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def _impatient(protocol: Any) -> type[asyncio.Protocol]:
    """A protocol that closes connections which do not ask: uvicorn's own waits for the end of a head for ever."""

    class Impatient(protocol):  # type: ignore[misc]
        deadline: asyncio.TimerHandle | None = None
        in_head, heard = False, 0

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            in_head = self.in_head
            super().data_received(data)
            if self._answering():
                self._forget_deadline()
            if in_head and self.in_head:
                self.heard += len(data)
                if self.heard > LONGEST_HEAD:
                    self.transport.close()

        # httptools calls these; h11 limits the length of a head itself.
        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.in_head, self.heard = True, 0

        def on_headers_complete(self) -> None:
            self.in_head = False
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            self._forget_deadline()

        def _answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self) -> None:
            self._forget_deadline()
            self.deadline = self.loop.call_later(SECONDS_TO_ASK, self._close_unless_answering)

        def _forget_deadline(self) -> None:
            if self.deadline:
                self.deadline.cancel()
                self.deadline = None

        def _close_unless_answering(self) -> None:
            if not self._answering():
                self.transport.close()

    return Impatient
