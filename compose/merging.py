"""What several processes of a service count, as one page: counts are added up, levels keep a process each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

#: Kinds whose sum over processes means something; any other is shown by process, with the label `worker`.
SUMMED = ("counter", "histogram", "summary")
_CREATED = "_created"

#: A sample's name and labels, and the sum of such samples.
_Sums = dict[tuple[str, frozenset[tuple[str, str]]], Sample]


@dataclass
class _Seen:
    """What a worker said last. `life`: which process that was."""

    life: int
    families: list[Metric]


@dataclass
class Totals:
    """The counts of workers, those that have ended included: a sum never goes down when one is started again.

    What a worker counted between the last look at it and its end is lost, as it is to whoever asks it directly.
    """

    _seen: dict[str, _Seen] = field(default_factory=dict)
    _ended: dict[str, _Sums] = field(default_factory=dict)

    def see(self, worker: str, life: int, text: str) -> None:
        """Take in what a worker shows. `life` is another one after each of its starts."""
        last = self._seen.get(worker)
        if last is not None and last.life != life:
            for family in _summed(last.families):
                _add(self._ended.setdefault(family.name, {}), family.samples)
        self._seen[worker] = _Seen(life, list(text_string_to_metric_families(text)))

    def page(self, answering: Iterable[str]) -> bytes:
        """All of it in Prometheus's text format; levels are those of `answering` workers only."""
        shown: dict[str, Metric] = {}
        sums = {name: dict(samples) for name, samples in self._ended.items()}
        present = frozenset(answering)
        for worker, seen in self._seen.items():
            for family in seen.families:
                shown.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                if worker in present and family.type not in SUMMED and not family.name.endswith(_CREATED):
                    shown[family.name].samples += [_of(worker, sample) for sample in family.samples]
            for family in _summed(seen.families):
                _add(sums.setdefault(family.name, {}), family.samples)
        for name, samples in sums.items():
            shown[name].samples = list(samples.values())
        registry = CollectorRegistry()
        registry.register(_Families([family for family in shown.values() if family.samples]))
        return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _summed(families: Iterable[Metric]) -> Iterator[Metric]:
    return (family for family in families if family.type in SUMMED)


def _add(sums: _Sums, samples: Iterable[Sample]) -> None:
    for sample in samples:
        key = sample.name, frozenset(sample.labels.items())
        known = sums.get(key)
        sums[key] = sample if known is None else known._replace(value=known.value + sample.value)


def _of(worker: str, sample: Sample) -> Sample:
    return sample._replace(labels={"worker": worker, **sample.labels})
