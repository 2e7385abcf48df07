"""What several processes count is shown as one page that Prometheus's own parser reads."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from compose.merging import Totals

VERDICTS = ("delivered", "dead")


class Worker:
    """A process's counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.attempts = Counter("attempts_total", "Attempts", ["verdict"], registry=self._registry)
        self.latency_s = Histogram("latency_seconds", "Latency", buckets=(0.1, 1), registry=self._registry)
        self.queued = Gauge("queued", "Queued", registry=self._registry)

    def shown(self) -> str:
        return generate_latest(self._registry).decode()


def read(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def attempts(totals: Totals, verdict: str) -> float:
    return read(totals.page(["w-0", "w-1"]))["attempts_total", (("verdict", verdict),)]


def test_counts_are_added_up_and_levels_keep_their_worker() -> None:
    totals, workers = Totals(), {"w-0": Worker(), "w-1": Worker()}
    for number, (name, worker) in enumerate(workers.items()):
        worker.attempts.labels("delivered").inc(number + 1)
        worker.latency_s.observe(0.05)
        worker.latency_s.observe(0.5)
        worker.queued.set(10 * (number + 1))
        totals.see(name, 1, worker.shown())
    shown = read(totals.page(workers))
    assert shown["attempts_total", (("verdict", "delivered"),)] == 3
    assert shown["latency_seconds_bucket", (("le", "0.1"),)] == 2
    assert shown["latency_seconds_bucket", (("le", "+Inf"),)] == 4
    assert shown["latency_seconds_count", ()] == 4
    assert shown["queued", (("worker", "w-0"),)] == 10
    assert shown["queued", (("worker", "w-1"),)] == 20


def test_levels_of_a_worker_that_does_not_answer_are_not_shown_but_its_counts_stay() -> None:
    totals, worker = Totals(), Worker()
    worker.attempts.labels("dead").inc()
    worker.queued.set(5)
    totals.see("w-0", 1, worker.shown())
    shown = read(totals.page([]))
    assert shown["attempts_total", (("verdict", "dead"),)] == 1
    assert not any(name == "queued" for name, _ in shown)


def test_what_only_a_worker_that_has_ended_counted_stays() -> None:
    totals, worker = Totals(), Worker()
    worker.attempts.labels("dead").inc(7)
    totals.see("w-0", 1, worker.shown())
    totals.see("w-0", 2, Worker().shown())
    assert attempts(totals, "dead") == 7


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["w-0", "w-1"]), st.sampled_from(VERDICTS), st.integers(0, 5), st.booleans(), st.booleans()
        ),
        max_size=30,
    )
)
def test_a_sum_is_what_was_seen_and_never_goes_down(steps: list[tuple[str, str, int, bool, bool]]) -> None:
    totals = Totals()
    workers = {name: (number, Worker()) for number, name in enumerate(("w-0", "w-1"))}
    for _, worker in workers.values():
        for verdict in VERDICTS:
            worker.attempts.labels(verdict).inc(0)
    seen = dict.fromkeys(VERDICTS, 0.0)
    unseen: dict[str, dict[str, int]] = {name: dict.fromkeys(VERDICTS, 0) for name in workers}
    for name, (life, worker) in workers.items():
        totals.see(name, life, worker.shown())
    for life, (name, verdict, count, dies, looked_at) in enumerate(steps, 10):
        workers[name][1].attempts.labels(verdict).inc(count)
        unseen[name][verdict] += count
        if looked_at:
            totals.see(name, workers[name][0], workers[name][1].shown())
            for one, more in unseen[name].items():
                seen[one] += more
        if looked_at or dies:
            unseen[name] = dict.fromkeys(VERDICTS, 0)
        if dies:
            workers[name] = (life, Worker())
        assert {one: attempts(totals, one) for one in VERDICTS} == seen
