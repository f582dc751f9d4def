"""``python -m prerank.serve bundle=FOLDER``: a bundle behind HTTP, until SIGTERM or Ctrl-C.

SIGHUP looks at the bundle again at once; SIGUSR2 goes back to the bundle before.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from configs.command import Invocation
from configs.console import say
from configs.errors import InputError
from configs.schema import ServiceConfig
from prerank.service.application import OFFERS, Service
from prerank.service.bodies import write_json
from prerank.service.bundles import Bundle, Bundles, Watch
from prerank.service.work import Limits, one
from prerank.serving.golden import GOLDEN
from prerank.serving.scorer import Scorer
from prerank.web.server import Server, listen

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WARM_REQUESTS = 20
SWITCH_SECONDS = 0.0005
"""For which a thread may hold the interpreter while others wait: a tenth of Python's own, so that heads of requests are
read, and refused, while a large body is."""


class Running:
    """The service of a command: its server, and the thread that looks after its bundle.

    Args:
        config: its section.
        load: a folder to its scorer.

    Raises:
        InputError: if the bundle or the port cannot be used.
    """

    def __init__(self, config: ServiceConfig, load: Callable[[Path], Scorer]) -> None:
        if not config.bundle:
            raise InputError("bundle=FOLDER is missing: what `python -m prerank.export` wrote, or a link to it")
        self.failure: Exception | None = None
        self.bundles = Bundles(Path(config.bundle), load, warm)
        self.watch = Watch(self.bundles, config.poll_seconds, self._failed)
        self.service = Service(config, self.bundles)
        listener = listen(config.host, config.port, "service")
        own_port = listener.getsockname()[1] if config.host in LOOPBACK else None
        self.server = Server(
            self.service.application(self._lifespan, own_port),
            listener,
            HttpToolsProtocol,
            seconds_to_end=math.ceil(config.time_limit_ms / 1000) + 5,
            lifespan="on",
        )

    def run(self) -> None:
        """Answer until told to end.

        Raises:
            InputError: if the first bundle cannot be loaded.
        """
        self.server.run()
        if self.failure is not None:
            raise self.failure

    @asynccontextmanager
    async def _lifespan(self, _application: FastAPI) -> AsyncIterator[None]:
        self.watch.start()
        yield
        self.watch.end()
        self.service.queue.close()

    def _failed(self, error: Exception) -> None:
        self.failure = error
        self.server.stop()


def load(folder: Path, threads: int | None) -> Scorer:
    """A bundle's scorer, verified.

    Raises:
        InputError: if the bundle is damaged, or needs a package that is not installed.
    """
    try:
        return Scorer.load(folder, threads)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{folder} needs the package {error.name}, which is not installed here: `pip install {error.name}`"
        ) from None


def warm(bundle: Bundle) -> None:
    """Answer some of the bundle's golden requests as the service would, so that nothing is done for the first time."""
    limits = Limits(candidates=sys.maxsize, batch=1)
    with (bundle.folder / GOLDEN).open("rb") as file:
        for line in islice(file, WARM_REQUESTS):
            body = write_json({name: value for name, value in json.loads(line)["body"].items() if name != "n"})
            for offer in OFFERS:
                one(bundle, body, offer.work, offer.body, limits, arrow=False, wants_arrow=offer.columns)


def serve(invocation: Invocation) -> None:
    """Answer from a bundle until interrupted.

    Raises:
        InputError: if the bundle cannot be loaded, or the port is taken.
    """
    config = invocation.config.service
    sys.setswitchinterval(SWITCH_SECONDS)
    running = Running(config, partial(load, threads=config.threads or None))
    watch, bundles = running.watch, running.bundles
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, lambda *_: watch.ask(bundles.reload))
        signal.signal(signal.SIGUSR2, lambda *_: watch.ask(bundles.roll_back))
    say(f"{config.bundle}: {running.server.url} (/ready says when; Ctrl-C stops)")
    running.run()
    say("stopped")
