"""A run in numbers for Prometheus: GET /metrics; and a sign of life: GET /healthz. docs/page.md lists them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mhfd.extras import install_hint
from mhfd_client.judge.standing import watcher_lives
from mhfd_client.ledger import Ledger, LedgerError, Run, State
from mhfd_client.ledger.following import NO_TIME
from mhfd_client.views.page.follow import Follower

BUCKETS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 1800.0)
BUCKETS_MS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
EXTRA = "metrics"


class Timings:
    """How long results took, as histograms; each result is counted once."""

    def __init__(self, ledger: Ledger, run_id: int) -> None:
        self._ledger, self._run_id = ledger, run_id
        self._last = NO_TIME
        self._lock = threading.Lock()
        self.verdict_s = Histogram(BUCKETS_S)
        self.kernel_ms = Histogram(BUCKETS_MS)
        self.copy_ms = Histogram(BUCKETS_MS)

    def take(self) -> None:
        """Count the results that came since the last time."""
        with self._lock:
            for timing in self._ledger.timings_after(self._run_id, self._last):
                self._last = timing.scored_at, timing.tile_id
                self.verdict_s.add(max(0.0, timing.scored_at - timing.mtime_ns / 1e9))
                for histogram, value in ((self.kernel_ms, timing.kernel_ms), (self.copy_ms, timing.copy_ms)):
                    if value is not None:
                        histogram.add(value)


class Histogram:
    """Counts by bounds.

    Parameters
    ----------
    bounds : upper ends, ascending
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self._counts[sum(value > bound for bound in self._bounds)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper end, how many are at most that), up to "+Inf"."""
        found, count = [], 0
        for bound, n in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            count += n
            found.append((bound, float(count)))
        return found


class Numbers:
    """The metrics of one run, in the form that prometheus-client collects."""

    def __init__(self, ledger: Ledger, run: Run, follower: Follower | None) -> None:
        self._ledger, self._run, self._follower = ledger, run, follower
        self._timings = Timings(ledger, run.run_id)

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        now = time.time()
        summary = self._ledger.summary(self._run.run_id, now)
        self._timings.take()
        by_state = GaugeMetricFamily("mhfd_tiles", "Tiles by state in the ledger", labels=["state"])
        for state in get_args(State):
            by_state.add_metric([state], summary.counts.get(state, 0))
        for name, n in (("stalled", summary.stalled), ("gone", summary.gone), ("missing", summary.missing)):
            by_state.add_metric([name], n)
        yield by_state
        yield from self._verdicts()
        yield GaugeMetricFamily("mhfd_backlog_tiles", "Tiles on their way to a result", summary.to_do)
        yield GaugeMetricFamily("mhfd_backlog_seconds", "Age of the oldest of them", _age(summary.waiting_since, now))
        yield GaugeMetricFamily(
            "mhfd_tiles_per_minute", "Results of the last minutes", summary.recent / summary.window_s * 60
        )
        yield GaugeMetricFamily(
            "mhfd_last_result_age_seconds", "Since the last result", _age(summary.last_scored_at, now)
        )
        watched = watcher_lives(summary.heartbeat, summary.heartbeat_at, now)
        yield GaugeMetricFamily("mhfd_watch_up", "1 while a watch is alive", float(watched))
        yield GaugeMetricFamily("mhfd_endpoint_up", "1 while the endpoint answers", float(self._endpoint_answers()))
        yield CounterMetricFamily("mhfd_results", "Results stored", summary.counts.get("scored", 0))
        for name, what, histogram in (
            ("mhfd_seconds_to_verdict", "From the end of a file to its result", self._timings.verdict_s),
            ("mhfd_kernel_milliseconds", "Of a tile in the kernel", self._timings.kernel_ms),
            ("mhfd_copy_milliseconds", "Of a tile's copy to and from the device", self._timings.copy_ms),
        ):
            yield HistogramMetricFamily(name, what, buckets=histogram.buckets(), sum_value=histogram.total)

    def _verdicts(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        if self._follower is None:
            return
        counts = self._follower.counts()
        by_verdict = GaugeMetricFamily("mhfd_tiles_by_verdict", "Tiles by verdict", labels=["verdict"])
        for verdict in ("in_focus", "out_of_focus", "astigmatic", "no_content", "cannot_tell", "failed"):
            by_verdict.add_metric([verdict], counts.get(verdict, 0))
        yield by_verdict
        yield GaugeMetricFamily("mhfd_take_again_tiles", "Flagged, and not accepted", counts.get("take_again", 0))
        yield GaugeMetricFamily("mhfd_viewers", "Browsers that show the page", self._follower.feed.listeners)

    def _endpoint_answers(self) -> bool:
        open_events = self._ledger.events(self._run.run_id, open_only=True)
        return not any(each.kind == "endpoint" for each in open_events)


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)


def metrics_routes(ledger: Ledger, run: Run, follower: Follower | None = None) -> list[Route]:
    """The routes /metrics and /healthz.

    Parameters
    ----------
    follower : who judges the run; without one there are no numbers by verdict
    """
    numbers = Numbers(ledger, run, follower)

    async def metrics(request: Request) -> Response:
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import choose_encoder
        except ImportError:
            return JSONResponse({"error": f"metrics need an extra: {install_hint(EXTRA)}"}, 501)
        registry = CollectorRegistry(auto_describe=False)
        encode, kind = choose_encoder(request.headers.get("accept", ""))

        def text() -> bytes:
            registry.register(numbers)
            return bytes(encode(registry))

        try:
            return Response(await run_in_threadpool(text), media_type=kind)
        except LedgerError as error:
            return JSONResponse({"error": str(error)}, 503)

    async def healthz(request: Request) -> Response:
        try:
            summary = await run_in_threadpool(ledger.summary, run.run_id)
        except LedgerError as error:
            return JSONResponse({"ok": False, "error": str(error)}, 503)
        trouble = follower.trouble if follower else None
        watched = watcher_lives(summary.heartbeat, summary.heartbeat_at, time.time())
        return JSONResponse({"ok": trouble is None, "watched": watched}, 200 if trouble is None else 503)

    return [Route("/metrics", metrics), Route("/healthz", healthz)]
