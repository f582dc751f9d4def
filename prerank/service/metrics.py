"""What Prometheus is told."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prerank.service.bundles import Bundles
from prerank.service.queue import Queue

MILLISECONDS = (1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 2500)
CANDIDATES = (1, 10, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 1_000_000)


class Metrics(Collector):
    """Counts of one service.

    Args:
        queue, bundles: whose state is told when it is asked for.
    """

    def __init__(self, queue: Queue, bundles: Bundles) -> None:
        self.queue, self.bundles = queue, bundles
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("grace_requests", "Answers.", ("route", "status"), registry=registry)
        self.seconds = Histogram(
            "grace_request_seconds",
            "From a request's head to the end of its answer.",
            ("route",),
            buckets=[each / 1000 for each in MILLISECONDS],
            registry=registry,
        )
        self.candidates = Histogram("grace_candidates", "Of a request or batch.", buckets=CANDIDATES, registry=registry)
        self.unknown = Counter("grace_unknown_items", "Candidates scored by their id alone.", registry=registry)
        self.missing = Counter("grace_missing_columns", "Requests without a column.", ("column",), registry=registry)
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What is read off when it is asked for."""
        yield GaugeMetricFamily("grace_queue_length", "Requests that are taken.", self.queue.length)
        yield GaugeMetricFamily("grace_queue_limit", "Requests that are taken at most.", self.queue.most)
        outcomes = CounterMetricFamily("grace_bundles", "Bundles by what became of them.", labels=["outcome"])
        for outcome, count in self.bundles.outcomes.items():
            outcomes.add_metric([outcome], count)
        yield outcomes
        if bundle := self.bundles.current:
            yield InfoMetricFamily("grace_bundle", "The bundle that answers.", bundle.facts)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

    def note(self, candidates: int, unknown: int, missing: Collection[str]) -> None:
        """Count what was scored."""
        self.candidates.observe(candidates)
        self.unknown.inc(unknown)
        for column in missing:
            self.missing.labels(column).inc()


class Measured:
    """Counts and times every answer.

    Args:
        app: what is measured.
        metrics: where it is counted.
        routes: addresses that are told apart.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Collection[str]) -> None:
        self.app, self.metrics, self.routes = app, metrics, frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            route: Any = scope["path"] if scope["path"] in self.routes else "other"
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)
