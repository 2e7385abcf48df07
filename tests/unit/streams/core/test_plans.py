"""What is worked out once for many events decides and writes what a look at each endpoint by itself does."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.changes import Subscription
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.events import Event, Sealed
from streams.core import judging, ordering, outputs, plans, reading, versions
from streams.core.filtering import Filterable
from streams.core.outputs import Output, Source

TYPES = ["a", "a.b", "a.b.c", "b.b", "hookfold.x"]
PATTERNS = st.sampled_from(["*", "**", "a", "a.*", "a.**", "*.b", "*.*", "a.b.c", "c", "hookfold.**", "hookfold.x"])
FILTERS: st.SearchStrategy[str | dict[str, Any] | None] = st.sampled_from(
    [
        None,
        "TRUE",
        "type LIKE 'a%'",
        "subject = 'x'",
        "id + 1 = 2",
        "no expression (",
        {"data": {"a": 1}},
        {"data": {"a": {"$gt": 0}, "b": {"$exist": False}}},
        {"data": {"$or": [{"a": 2}, {"b": "text"}]}},
        {"data": {"$unknown": 1}},
        {"neither": 1},
    ]
)
SUBSCRIPTIONS = st.builds(
    lambda patterns, found: Subscription.model_construct(event_types=tuple(patterns), filter=found),
    st.lists(PATTERNS, min_size=1, max_size=3),
    FILTERS,
)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
EVENTS = st.builds(
    Event,
    tenant=st.just("t"),
    event_id=st.sampled_from(["1", "2", "é"]) | TEXT,
    event_type=st.sampled_from(TYPES),
    data=st.sampled_from([b"", b"{}", b'{"a":1}', b'{"a":2,"b":"text"}', b"[1]", b"no json", b'{"a":1.10}']),
    given_id=st.booleans(),
    time=st.none() | st.just("2026-01-02T03:04:05Z"),
    data_content_type=st.none() | st.just("application/json"),
    traceparent=st.none() | st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
    attributes=st.dictionaries(st.sampled_from(["source", "subject", "x"]), st.sampled_from(["x", "y"])),
    sealed=st.none() | st.builds(Sealed, st.just("k1"), st.just(b"sealed")),
    erased=st.booleans(),
)


@st.composite
def endpoints(draw: st.DrawFn, endpoint_id: str) -> EndpointRecord:
    """An endpoint with a history."""
    times = sorted(draw(st.sets(st.integers(1, 9), min_size=1, max_size=4)))
    made = []
    for number, at_ms in enumerate(times):
        state = draw(st.sampled_from(State))
        own = EndpointSettings.model_construct(
            url="https://a.example/",
            subscriptions=tuple(draw(st.lists(SUBSCRIPTIONS, max_size=3))),
            secrets=(),
            ordered_by=draw(st.sampled_from([None, "data.a", "subject"])),
        )
        made.append(
            EndpointVersion.model_construct(
                valid_from_ms=at_ms,
                offset=number * 7,
                state=state,
                since_ms=at_ms,
                settings=None if state is State.GONE else own,
            )
        )
    return EndpointRecord(tenant="t", endpoint_id=endpoint_id, partition=4, current=made[-1], history=tuple(made[:-1]))


def plainly(event: Event, source: Source, candidates: list[EndpointRecord]) -> list[Output]:
    """What the event leads to, worked out for each endpoint from the beginning."""
    made = []
    filterable = Filterable(event)
    for record in candidates:
        version = versions.as_of(record, source.at_ms)
        pattern = judging.matching_pattern(version, event, filterable) if version is not None else None
        if version is None or pattern is None:
            continue
        if version.state is State.ACTIVE and event.erased:
            made.append(outputs.result(judging.erase(event, source.at_ms, record.endpoint_id)))
        elif version.state is State.ACTIVE:
            key = ordering.key_of(version.settings, filterable)
            place = f"{record.partition}-{version.offset}"
            made.append(judging.deliver(event, source, record, place, pattern, order_key=key))
        else:
            identity = reading.delivery_id(event.tenant, event.event_id, record.endpoint_id)
            skipped = judging.skip(event, source.at_ms, record.endpoint_id, identity, version.state)
            made.append(outputs.result(skipped))
    return made


@settings(max_examples=300)
@given(st.data())
def test_every_event_of_a_history_leads_to_what_it_leads_to_by_itself(data: st.DataObject) -> None:
    candidates = [data.draw(endpoints(name)) for name in ("e-1", "e-2", "e-3")]
    ready = [plans.of(record) for record in candidates]
    for offset in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):  # one of them changes
            place = data.draw(st.integers(0, 2))
            candidates[place] = data.draw(endpoints(candidates[place].endpoint_id))
            ready[place] = plans.of(candidates[place])
        event, at_ms = data.draw(EVENTS), data.draw(st.integers(0, 10))
        source = Source("p.events", 4, offset, at_ms, b"t", b"as it came")
        judged = judging.judge(event, source, ready)
        expected = plainly(event, source, candidates)
        assert judged.outputs == expected
        assert [made.size for made in judged.outputs] == [made.size for made in expected]


def test_a_delivery_says_of_an_event_all_that_an_event_has() -> None:
    """Where an event has a field more, `Envelope` has to be told: what it writes is compared with `deliver` above."""
    assert set(Event.__dataclass_fields__) == {
        "tenant",
        "event_id",
        "event_type",
        "data",
        "given_id",
        "time",
        "data_content_type",
        "traceparent",
        "attributes",
        "sealed",
        "erased",
    }
