"""What an event leads to, and what becomes of records that are out of place or too large."""

import orjson
import pytest

from schemas import deliveries, topics
from schemas.changes import Subscription
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.events import MOVED_HEADER, Event
from streams.core import admission, judging, outputs, partitioning
from streams.core.admission import Load
from streams.core.dedupe import SeenIds
from streams.core.outputs import Output, Source


def version(state: State, at_ms: int, offset: int, *patterns: str) -> EndpointVersion:
    settings = EndpointSettings(
        url="https://example.com/", subscriptions=(Subscription(event_types=patterns or ("*",)),), secrets=()
    )
    return EndpointVersion(
        valid_from_ms=at_ms,
        offset=offset,
        state=state,
        since_ms=at_ms,
        settings=None if state is State.GONE else settings,
    )


def record(*versions: EndpointVersion) -> EndpointRecord:
    return EndpointRecord(tenant="t", endpoint_id="e", partition=1, current=versions[-1], history=versions[:-1])


def source(at_ms: int = 100, key: bytes | None = b"t", **fields: object) -> Source:
    partition = partitioning.partition_of(key or b"", 8)
    return Source("p.events", partition, 5, at_ms, key, b"{}", **fields)  # type: ignore[arg-type]


EVENT = Event("t", "1", "a.b", b'{"n":1.10}')


def test_an_active_endpoint_is_owed_a_delivery_with_the_data_as_it_came() -> None:
    judged = judging.judge(EVENT, source(), [record(version(State.ACTIVE, 50, 3))])
    made = judged.outputs[0]
    assert (made.topic, made.key, made.value) == (topics.DELIVERIES, b"t/e", b'{"n":1.10}')
    delivery = deliveries.decode(made.value, made.headers)
    assert isinstance(delivery, Delivery)
    assert (delivery.endpoint_version, delivery.matched, delivery.attempt, delivery.event_time_ms) == (
        "1-3",
        "*",
        1,
        100,
    )


@pytest.mark.parametrize("state", [State.PENDING, State.PAUSED, State.DISABLED])
def test_an_endpoint_that_takes_none_gets_a_skipped_result(state: State) -> None:
    judged = judging.judge(EVENT, source(), [record(version(state, 50, 3))])
    made = judged.outputs[0]
    assert made.topic == topics.RESULTS
    result = orjson.loads(made.value or b"")
    assert (result["verdict"], result["error_kind"], result["attempt"]) == ("skipped", state.value, 0)
    assert "latency_ms" not in result


@pytest.mark.parametrize(
    "versions",
    [
        (version(State.GONE, 50, 3),),
        (version(State.ACTIVE, 100, 3),),  # of the same millisecond
        (version(State.ACTIVE, 101, 3),),
        (version(State.ACTIVE, 50, 3, "x.*"),),
        (version(State.ACTIVE, 10, 1), version(State.GONE, 99, 2)),
    ],
)
def test_an_endpoint_that_was_not_subscribed_then_gets_nothing(versions: tuple[EndpointVersion, ...]) -> None:
    assert judging.judge(EVENT, source(), [record(*versions)]).outputs == []


def test_a_subscription_that_ended_after_the_event_still_counts() -> None:
    history = record(version(State.ACTIVE, 50, 1, "a.*"), version(State.ACTIVE, 150, 2, "x.*"))
    assert judging.judge(EVENT, source(), [history]).deliveries == 1


def test_a_delivery_too_large_for_its_topic_is_rejected_with_the_event() -> None:
    large = Event("t", "1", "a.b", b"x" * (9 * topics.MIB))
    made = judging.judge(large, source(), [record(version(State.ACTIVE, 50, 3))]).outputs[0]
    assert made.topic == topics.REJECTED
    assert made.value == b"{}"
    assert dict(made.headers)["rejected-origin"] == f"p.events/{source().partition}/5".encode()


def test_a_misplaced_record_is_moved_once_with_all_it_came_with() -> None:
    right = source(headers=[("x", b"1")])
    assert judging.misplaced(right, topics.EVENTS, 8) is None
    wrong = Source("p.events", (right.partition + 1) % 8, 5, 100, b"t", b"v", [("x", b"1")])
    moved = judging.misplaced(wrong, topics.EVENTS, 8)
    assert isinstance(moved, Output)
    assert (moved.topic, moved.key, moved.value) == (topics.EVENTS, b"t", b"v")
    assert moved.place(8) == right.partition
    assert list(moved.headers) == [("x", b"1"), (MOVED_HEADER, f"{wrong.partition}-5".encode())]
    again = judging.misplaced(Source("p.events", wrong.partition, 6, 100, b"t", b"v", moved.headers), topics.EVENTS, 8)
    assert isinstance(again, Output)
    assert again.topic == topics.REJECTED


def test_a_rejected_record_keeps_all_it_came_with_and_tells_why_in_one_line() -> None:
    made = outputs.rejected(Source("p.x", 1, 2, 3, None, b"\xff", [("h", b"\xfe")]), "line one\nline two")
    assert (made.key, made.value, made.partition) == (None, b"\xff", 1)
    assert list(made.headers) == [
        ("h", b"\xfe"),
        ("rejected-reason", b"line one line two"),
        ("rejected-origin", b"p.x/1/2"),
    ]


def test_even_the_largest_record_can_be_rejected() -> None:
    made = outputs.rejected(Source("p.x", 1, 2, 3, b"k", b"x" * (12 * topics.MIB)), "too large")
    assert made.fits
    assert dict(made.headers)["rejected-bytes-cut"]


def test_an_id_is_known_within_the_window_of_its_tenant_and_forgotten_after_it() -> None:
    seen = SeenIds(window_ms=1_000, max_events=3)
    assert not seen.seen("t", "1", 0)
    assert seen.seen("t", "1", 1_000)
    assert not seen.seen("other", "1", 1_000)
    assert not seen.seen("t", "1", 1_001)
    for number in range(3):
        assert not seen.seen("t", f"n{number}", 1_002)
    assert not seen.seen("t", "1", 1_003)  # three came after it
    assert len(seen) == 3


def test_a_quick_endpoint_may_wait_and_a_dead_one_may_not() -> None:
    assert admission.may_wait(Load(queued=1_000, service_ms=5, limit=10))
    assert not admission.may_wait(Load(queued=10, service_ms=15_000, limit=10))
    assert not admission.may_wait(Load(queued=100, service_ms=1, limit=10, rate_per_s=10))
    longer = [admission.deferral_ms(Load(0, 1, 10, failures=failures)) for failures in (0, 10, 30, 10_000)]
    assert longer == sorted(longer)
    assert longer[0] >= admission.MIN_DEFERRAL_MS
    assert longer[-1] == admission.MAX_DEFERRAL_MS
