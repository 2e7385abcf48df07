"""Counts without a lock are shown as prometheus_client shows its own."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest

from streams.counting import Counts, Spread

BUCKETS = (0.005, 0.5, 1, 30)


def shown(of: Counts | Spread | Counter | Histogram) -> set[bytes]:
    registry = CollectorRegistry()
    registry.register(of)
    return {line for line in generate_latest(registry).splitlines() if b"_created" not in line}


@given(st.lists(st.sampled_from(["a", "b c", 'd"']), max_size=20))
def test_a_counter(told: list[str]) -> None:
    ours = Counts("hookfold_trial_total", "How many", ["what", "why"])
    REGISTRY.unregister(ours)
    theirs = Counter("hookfold_trial_total", "How many", ["what", "why"], registry=None)
    for one in told:
        ours.labels(one, "").inc()
        theirs.labels(one, "").inc()
    assert shown(ours) == shown(theirs)


def test_a_counter_without_labels_is_there_before_anything_is_counted() -> None:
    ours = Counts("hookfold_trial_total", "How many")
    REGISTRY.unregister(ours)
    theirs = Counter("hookfold_trial_total", "How many", registry=None)
    assert shown(ours) == shown(theirs)
    ours.inc()
    theirs.inc()
    assert shown(ours) == shown(theirs)


@given(st.lists(st.sampled_from([0.0, 0.004, 0.005, 0.5, 0.7, 1.0, 30.0, 31.5])))
def test_a_histogram(values: list[float]) -> None:
    ours = Spread("hookfold_trial_seconds", "How long", BUCKETS)
    REGISTRY.unregister(ours)
    theirs = Histogram("hookfold_trial_seconds", "How long", buckets=BUCKETS, registry=None)
    for value in values:
        ours.observe(value)
        theirs.observe(value)
    assert shown(ours) == shown(theirs)
