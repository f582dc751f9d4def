"""A bounded queue before a few threads: what is taken is answered in time, the rest is refused at once.

A queue that is bounded by a number alone holds more of large requests than can be answered in time; all of these would
be worked on in vain. So what is taken is bounded by the work, too: its length times what a request takes lately.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import TypeVar

from prerank.web.errors import AnswerError

Answer = TypeVar("Answer")
SOON = {"Retry-After": "1"}
WAIT_SHARE = 0.5
"""Of the time of a request that may be spent in waiting for those before it."""
LATELY = 0.1
"""Weight of the newest request in the seconds that one takes."""


class Queue:
    """Work of requests, away from the event loop.

    Args:
        most: requests that are taken at a time, whether they are being read, wait or are worked on.
        workers: threads.
        seconds: from a request's beginning to its answer.
    """

    def __init__(self, most: int, workers: int, seconds: float) -> None:
        self.most, self.workers, self.seconds = most, workers, seconds
        self.length = 0
        self.seconds_each = 0.0
        self._threads = ThreadPoolExecutor(workers, "worker")

    async def answer(self, read: Callable[[], Awaitable[bytes]], work: Callable[[bytes], Answer]) -> Answer:
        """What a thread makes of a body.

        A thread cannot be stopped: one that takes too long keeps its place until it is done, so that the places say
        how much there is to do.

        Args:
            read: the body; called once there is a place for it, so that no more bodies than places are in memory.
            work: runs in a thread.

        Raises:
            AnswerError: 429 without a place; 408, 503 or 504 if the time is up while the body is read, before its
                turn has come, or while it is worked on; and what both functions raise.
        """
        wait = self.length * self.seconds_each / self.workers
        if self.length >= self.most or wait > WAIT_SHARE * self.seconds:
            reason = f"{self.length} requests are waiting: more are not taken."
            raise AnswerError(HTTPStatus.TOO_MANY_REQUESTS, reason, {**SOON})
        self.length += 1
        begun = time.monotonic()
        future: Future[Answer] | None = None
        try:
            async with asyncio.timeout(self.seconds):
                body = await read()
                future = self._threads.submit(self._timed, work, body)
                return await asyncio.wrap_future(future)
        except TimeoutError:
            waited = f"after {1000 * (time.monotonic() - begun):.0f} ms"
            if future is None:
                raise AnswerError(HTTPStatus.REQUEST_TIMEOUT, f"The body was not there {waited}.") from None
            if future.cancelled():
                reason = f"The turn of this request had not come {waited}."
                raise AnswerError(HTTPStatus.SERVICE_UNAVAILABLE, reason, SOON) from None
            raise AnswerError(HTTPStatus.GATEWAY_TIMEOUT, f"The scores were not there {waited}.") from None
        finally:
            if future is None or future.done():
                self._leave()
            else:
                loop = asyncio.get_running_loop()
                future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))

    def close(self) -> None:
        """End the threads, once their work is done."""
        self._threads.shutdown()

    def _timed(self, work: Callable[[bytes], Answer], body: bytes) -> Answer:
        started = time.perf_counter()
        try:
            return work(body)
        finally:
            self.seconds_each += LATELY * (time.perf_counter() - started - self.seconds_each)

    def _leave(self) -> None:
        self.length -= 1
