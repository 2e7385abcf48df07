"""Counts of what happens thousands of times a second. They have no lock: all that count them are on one event loop."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import REGISTRY, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Count:
    """One number that rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        """One more."""
        self.value += 1


class Counts(Collector):
    """A counter for each combination of labels, or one without; shown like prometheus_client's `Counter`."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._counts: dict[tuple[str, ...], Count] = {} if labels else {(): Count()}
        REGISTRY.register(self)

    def labels(self, *values: str) -> Count:
        """That of these labels."""
        return self._counts.setdefault(values, Count())

    def inc(self) -> None:
        """One more of the one without labels."""
        self._counts[()].value += 1

    def collect(self) -> list[Metric]:
        """prometheus_client's interface."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count.value)
        return [family]


class Spread(Collector):
    """How many were at most so large; shown like prometheus_client's `Histogram`."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float]) -> None:
        self._name, self._documentation, self._buckets = name, documentation, buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        REGISTRY.register(self)

    def observe(self, value: float) -> None:
        """One more, of this size."""
        self._counts[bisect_left(self._buckets, value)] += 1
        self._sum += value

    def collect(self) -> list[Metric]:
        """prometheus_client's interface."""
        rows, total = [], 0
        for bound, count in zip([*map(str, map(float, self._buckets)), "+Inf"], self._counts, strict=True):
            total += count
            rows.append((bound, float(total)))
        return [HistogramMetricFamily(self._name, self._documentation, buckets=rows, sum_value=self._sum)]
