"""What an event leads to, for endpoints in every state, as they stood when the event was appended."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import deliveries, topics
from schemas.changes import Subscription
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.events import MOVED_HEADER, Event
from streams.core import content, explaining, judging, partitioning, parts, plans, reading
from streams.core.explaining import Decision
from streams.core.outputs import Output, Source
from streams.core.parts import Part

EVENT = Event("t", "1", "a.b", b"1.10", time="2026-01-02T03:04:05Z", attributes={"source": "/s"})
BYTES = st.one_of(st.none(), st.binary(max_size=20))


def version(at_ms: int, state: State, *patterns: str) -> EndpointVersion:
    subscriptions = (Subscription(event_types=patterns or ("a.*",)),)
    made = EndpointSettings(url="https://a.example/", subscriptions=subscriptions, secrets=())
    return EndpointVersion(
        valid_from_ms=at_ms,
        offset=at_ms,
        state=state,
        since_ms=at_ms,
        settings=None if state is State.GONE else made,
    )


def endpoint(endpoint_id: str, *versions: EndpointVersion) -> EndpointRecord:
    return EndpointRecord(tenant="t", endpoint_id=endpoint_id, partition=4, current=versions[-1], history=versions[:-1])


def judge(*candidates: EndpointRecord, at_ms: int = 100, event: Event = EVENT) -> judging.Judged:
    return judging.judge(
        event,
        Source("p.events", 4, 9, at_ms, b"t", b"as it came", [("h", b"1")]),
        [plans.of(one) for one in candidates],
    )


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(list(State)), st.integers(90, 110), st.sampled_from(["a.*", "x"]))))
def test_each_endpoint_gets_one_delivery_or_one_skip_or_nothing(found: list[tuple[State, int, str]]) -> None:
    candidates = [endpoint(f"e{n}", version(at_ms, state, p)) for n, (state, at_ms, p) in enumerate(found)]
    judged = judge(*candidates)
    owed = [state for state, at_ms, p in found if at_ms <= 100 and p == "a.*" and state is not State.GONE]
    assert judged.deliveries == owed.count(State.ACTIVE)
    assert judged.deliveries + judged.skipped == len(owed) == len(judged.outputs)
    assert len({made.key for made in judged.outputs}) == len(owed)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(list(State)), st.integers(90, 110), st.sampled_from(["a.*", "x"]))),
    st.integers(1, 2_000),
)
def test_parts_are_the_whole_and_none_has_more_room_than_it_may_but_for_its_last(
    found: list[tuple[State, int, str]], room: int
) -> None:
    candidates = [endpoint(f"e{n:03}", version(at_ms, state, p)) for n, (state, at_ms, p) in enumerate(found)]
    ready = [plans.of(one) for one in candidates]
    source = Source("p.events", 4, 9, 100, b"t", b"as it came", [("h", b"1")])
    made: list[Output] = []
    to: str | None = ""
    while to is not None:
        metadata = str(Part(9, 100, to)) if to else ""
        part = parts.read(9, metadata)
        left = [one for one in ready if part is None or one.endpoint_id > part.to]
        judged = judging.judge(EVENT, source, ready, left, room)
        assert sum(output.size for output in judged.outputs[:-1]) < room
        assert judged.to is None or sum(output.size for output in judged.outputs) >= room
        made += judged.outputs
        to = judged.to
    assert made == judge(*candidates).outputs


def test_a_part_is_of_its_own_event_and_of_no_other_at_its_offset() -> None:
    part = parts.read(9, str(Part(9, 100, "e-1_Z")))
    assert part == Part(9, 100, "e-1_Z")
    assert part.is_of(Source("p.events", 4, 9, 100, b"t", b""))
    assert not part.is_of(Source("p.events", 4, 9, 101, b"t", b""))
    assert not part.is_of(Source("p.events", 4, 10, 100, b"t", b""))
    for metadata in ("", "AQ==", "judged=1;to=", "judged=1;to=a b"):
        assert parts.read(9, metadata) is None


def test_a_delivery_says_all_that_the_event_said() -> None:
    made = judge(endpoint("e", version(50, State.ACTIVE))).outputs[0]
    delivery = deliveries.decode(made.value, made.headers)
    assert isinstance(delivery, Delivery)
    assert (made.topic, made.key, made.value) == (topics.DELIVERIES, b"t/e", b"1.10")
    assert delivery.delivery_id == reading.delivery_id("t", "1", "e")
    assert (delivery.event_id, delivery.event_type, delivery.event_time_ms) == ("1", "a.b", 100)
    assert (delivery.event_time, delivery.attributes) == (EVENT.time, EVENT.attributes)
    assert (delivery.attempt, delivery.matched, delivery.due_at_ms) == (1, "a.*", None)


def test_several_patterns_that_match_are_one_delivery() -> None:
    assert judge(endpoint("e", version(50, State.ACTIVE, "a.b", "a.*", "**"))).deliveries == 1


@pytest.mark.parametrize("state", [State.PENDING, State.PAUSED, State.DISABLED])
def test_a_skip_says_which_state_and_that_no_attempt_was_made(state: State) -> None:
    made = judge(endpoint("e", version(50, state))).outputs[0]
    assert orjson.loads(made.value or b"") == {
        "delivery_id": reading.delivery_id("t", "1", "e"),
        "event_id": "1",
        "event_type": "a.b",
        "event_time_ms": 100,
        "tenant": "t",
        "endpoint_id": "e",
        "attempt": 0,
        "verdict": "skipped",
        "error_kind": state.value,
        "error": f"the endpoint was {state.value} when the event came",
    }


@pytest.mark.parametrize(
    ("at_ms", "deliveries_made", "skipped"),
    [(9, 0, 0), (10, 0, 1), (19, 0, 1), (20, 1, 0), (29, 1, 0), (30, 0, 1), (39, 0, 1), (40, 0, 0), (999, 0, 0)],
)
def test_the_last_version_by_the_event_decides_one_of_its_own_millisecond_included(
    at_ms: int, deliveries_made: int, skipped: int
) -> None:
    states = [(10, State.PENDING), (20, State.ACTIVE), (30, State.PAUSED), (40, State.GONE)]
    judged = judge(endpoint("e", *(version(*found) for found in states)), at_ms=at_ms)
    assert (judged.deliveries, judged.skipped) == (deliveries_made, skipped)


def test_a_delivery_that_does_not_fit_is_rejected_and_the_others_are_made() -> None:
    large = Event("t", "1", "a.b", b"x" * (9 * topics.MIB - 300))
    judged = judge(endpoint("e", version(50, State.ACTIVE)), endpoint("f", version(50, State.PAUSED)), event=large)
    rejected, skipped = judged.outputs
    assert (judged.deliveries, judged.skipped) == (0, 1)
    assert (rejected.topic, rejected.key, rejected.value) == (topics.REJECTED, b"t", b"as it came")
    assert dict(rejected.headers)["rejected-origin"] == b"p.events/4/9"
    assert skipped.topic == topics.RESULTS


@settings(max_examples=80)
@given(st.one_of(st.none(), st.binary(max_size=20)), BYTES, st.integers(1, 16), st.data())
def test_a_misplaced_record_is_moved_once_whole_to_where_its_key_belongs(
    key: bytes | None, value: bytes | None, partitions: int, data: st.DataObject
) -> None:
    found = data.draw(st.integers(0, partitions - 1))
    source = Source("p.events", found, 9, 100, key, value, [("h", b"1"), ("h", b"2")])
    moved = judging.misplaced(source, topics.EVENTS, partitions)
    if key is None or partitioning.partition_of(key, partitions) == found:
        assert moved is None
        return
    assert isinstance(moved, Output)
    assert (moved.topic, moved.key, moved.value) == (topics.EVENTS, key, value)
    assert list(moved.headers) == [("h", b"1"), ("h", b"2"), (MOVED_HEADER, f"{found}-9".encode())]
    arrived = Source("p.events", moved.place(partitions), 1, 200, key, value, moved.headers)
    assert judging.misplaced(arrived, topics.EVENTS, partitions) is None
    again = judging.misplaced(Source("p.events", found, 1, 200, key, value, moved.headers), topics.EVENTS, partitions)
    assert again is not None
    assert again.topic == topics.REJECTED


def test_a_moved_event_keeps_the_name_of_its_first_place() -> None:
    event = reading.read_event("t", b'{"type":"a"}', [(MOVED_HEADER, b"6-77")], partition=1, offset=2, max_bytes=1_000)
    assert isinstance(event, Event)
    assert event.event_id == "6-77"


def test_a_misplaced_record_too_large_to_be_moved_is_rejected_and_not_lost() -> None:
    key = b"t"
    wrong = (partitioning.partition_of(key, 8) + 1) % 8
    made = judging.misplaced(Source("p.events", wrong, 9, 100, key, b"x" * (8 * topics.MIB)), topics.EVENTS, 8)
    assert made is not None
    assert (made.topic, len(made.value or b"")) == (topics.REJECTED, 8 * topics.MIB)


def filtered(*subscriptions: Subscription) -> EndpointRecord:
    made = EndpointSettings(url="https://a.example/", subscriptions=subscriptions, secrets=())
    return endpoint("e", EndpointVersion(valid_from_ms=1, offset=1, state=State.ACTIVE, since_ms=1, settings=made))


@pytest.mark.parametrize(
    ("expression", "deliveries"),
    [
        ("source = '/s'", 1),
        ("source = '/other'", 0),
        ("type LIKE 'a.%' AND id = '1' AND EXISTS time", 1),
        ("NOT EXISTS subject", 1),
        ("subject = 'x'", 0),
        ("NOT (subject = 'x')", 0),
        ("id + 1 = 2", 1),
        ("'neither'", 0),
    ],
)
def test_a_filter_decides_by_the_attributes_and_an_error_is_a_no(expression: str, deliveries: int) -> None:
    judged = judge(filtered(Subscription(event_types=("a.*",), filter=expression)))
    assert (judged.deliveries, len(judged.outputs)) == (deliveries, deliveries)


def test_one_subscription_that_lets_an_event_pass_is_enough_and_makes_one_delivery() -> None:
    closed = Subscription(event_types=("a.*", "*.b"), filter="FALSE")
    opened = Subscription(event_types=("*.b",), filter="TRUE")
    judged = judge(filtered(closed, opened, opened))
    delivery = deliveries.decode(judged.outputs[0].value, judged.outputs[0].headers)
    assert isinstance(delivery, Delivery)
    assert (judged.deliveries, delivery.matched) == (1, "*.b")
    assert judge(filtered(closed)).outputs == []


def test_a_plain_events_source_is_its_tenant() -> None:
    plain = Event("t", "1", "a.b", b"1")
    record = filtered(Subscription(event_types=("**",), filter="source = '/t' AND NOT EXISTS time"))
    assert judge(record, event=plain).deliveries == 1


MANY = Event("t", "1", "a.b", orjson.dumps({"a": list(range(300)), "b": 1}), attributes={"source": "/s"})
#: About so many comparisons on it, which none of them passes; and one that passes with a few.
DEAR = {count: {"data": {"a": {"$in": [-n for n in range(1, count // 300 + 1)]}}} for count in (300, 3_000, 60_000)}
CHEAP: dict[str, object] = {"data": {"b": 1}}


def asking(endpoint_id: str, *filters: object) -> EndpointRecord:
    wanted = [Subscription.model_validate({"event_types": ("a.*",), "filter": one}) for one in filters]
    made = EndpointSettings(url="https://a.example/", subscriptions=tuple(wanted), secrets=())
    one = EndpointVersion(valid_from_ms=1, offset=1, state=State.ACTIVE, since_ms=1, settings=made)
    return endpoint(endpoint_id, one)


def test_a_dear_filter_takes_nothing_from_another_endpoints() -> None:
    dear = [asking(f"e{number:02}", DEAR[60_000], CHEAP) for number in range(30)]
    judged = judge(*dear, asking("f", CHEAP), event=MANY)
    assert [made.key for made in judged.outputs] == [b"t/f"]


def test_an_endpoints_own_filters_share_what_it_has() -> None:
    assert judge(asking("e", *[DEAR[3_000]] * 3, CHEAP), event=MANY).deliveries == 1
    assert judge(asking("e", *[DEAR[3_000]] * 20, CHEAP), event=MANY).deliveries == 0


def test_a_part_of_an_events_endpoints_has_no_more_for_its_filters_than_it_has_among_all() -> None:
    source = Source("p.events", 4, 9, 100, b"t", b"as it came")
    ready = [plans.of(asking(f"e{number:03}", *[DEAR[3_000]] * 2, CHEAP)) for number in range(200)]
    assert judging.judge(MANY, source, ready[-5:]).deliveries == 5
    assert judging.judge(MANY, source, ready).deliveries == 0
    assert judging.judge(MANY, source, ready, ready[-5:]).deliveries == 0


def test_all_endpoints_of_a_tenant_together_have_no_more_than_an_event_may_take() -> None:
    assert content.share(1) == content.share(20) == content.MAX_STEPS
    assert all(content.share(asking) * asking <= content.MAX_EVENT_STEPS for asking in range(20, 10_001))
    assert content.share(10**9) == content.MIN_STEPS


@settings(max_examples=60)
@given(st.data(), st.integers(50, 20_000))
def test_what_is_explained_of_a_dear_filter_is_what_was_judged_in_any_order(data: st.DataObject, most: int) -> None:
    kinds = st.sampled_from([CHEAP, DEAR[300], DEAR[3_000], "source = '/s'", None])
    records = [
        asking(f"e{number}", *data.draw(st.lists(kinds, min_size=1, max_size=3)))
        for number in range(data.draw(st.integers(1, 12)))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "MAX_EVENT_STEPS", most)
        source = Source("p.events", 4, 9, 100, b"t", b"as it came")
        counted = judging.asking(MANY, source, records)
        owed = {
            made.key
            for made in judge(*data.draw(st.permutations(records)), event=MANY).outputs
            if made.topic == topics.DELIVERIES
        }
        explained = {one.endpoint_id: explaining.explain(MANY, source, one, counted) for one in records}
    assert owed == {f"t/{name}".encode() for name, one in explained.items() if one.decision is Decision.OWED}
