"""Counting and timing what happens, in the words of `infra.metric_table`. prometheus-client is known here
alone."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from infra.clock import Clock
from infra.metric_table import TABLE, Metric

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

# When a series was first seen is told by whoever keeps it; here it would double their number.
prometheus_client.disable_created_metrics()


class Metrics:
    """The metrics of one process, or of one test. All are in memory: to tell them asks nobody anything.

    Labels are given in the order of the table.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._counters: dict[Metric, Counter] = {}
        self._gauges: dict[Metric, Gauge] = {}
        self._histograms: dict[Metric, Histogram] = {}
        self._read = _Read()
        for metric in TABLE:
            self._make(metric)
        self._registry.register(self._read)
        ProcessCollector(registry=self._registry)

    def count(self, metric: Metric, *labels: str) -> None:
        """It has happened once more."""
        counter = self._counters[metric]
        (counter.labels(*labels) if labels else counter).inc()

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """That is how it is now."""
        gauge = self._gauges[metric]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """One more of a distribution: seconds, or a size."""
        histogram = self._histograms[metric]
        (histogram.labels(*labels) if labels else histogram).observe(value)

    @contextmanager
    def timed(self, metric: Metric, *labels: str) -> Generator[None]:
        """Observe how long the block takes, whichever way it ends."""
        started_s = self._clock.monotonic_s()
        try:
            yield
        finally:
            self.observe(metric, self._clock.monotonic_s() - started_s, *labels)

    @contextmanager
    def reading(self, metric: Metric, read: Callable[[], float], *labels: str) -> Generator[None]:
        """Within the block `read` is asked whenever somebody looks. It must answer from memory."""
        with self._read.added(metric, labels, read):
            yield

    def text(self) -> bytes:
        """Everything, as Prometheus reads it (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)

    def value(self, name: str, **labels: str) -> float | None:
        """One sample by its full name, None while there is none."""
        return self._registry.get_sample_value(name, labels)

    def _make(self, metric: Metric) -> None:
        given = (metric.name, metric.help, metric.labels)
        if metric.read:
            self._read.declare(metric)
        elif metric.kind == "counter":
            self._counters[metric] = Counter(*given, registry=self._registry)
        elif metric.kind == "gauge":
            self._gauges[metric] = Gauge(*given, registry=self._registry)
        else:
            self._histograms[metric] = Histogram(*given, registry=self._registry, buckets=metric.buckets)


class _Read(Collector):
    """What is asked for when somebody looks."""

    def __init__(self) -> None:
        self._readers: dict[Metric, dict[tuple[str, ...], Callable[[], float]]] = {}

    def declare(self, metric: Metric) -> None:
        self._readers[metric] = {}

    @contextmanager
    def added(self, metric: Metric, labels: tuple[str, ...], read: Callable[[], float]) -> Generator[None]:
        readers = self._readers[metric]
        readers[labels] = read
        try:
            yield
        finally:
            if readers.get(labels) is read:  # Whoever came after has its place.
                del readers[labels]

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for metric, readers in self._readers.items():
            family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            told = family(metric.name, metric.help, labels=metric.labels)
            for labels, read in readers.items():
                told.add_metric(labels, read())
            yield told
