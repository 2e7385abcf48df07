"""Sealed data goes through every step as it is, and nothing that a receiver says of it is kept."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.wire import batching, clouds, outcome, settling
from handlers.wire.settling import Policy
from schemas import deliveries, topics
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings
from schemas.events import Event, Sealed
from streams.core import reading

POLICY = Policy((5_000,), 0.0, {"1s": 1_000}, 86_400_000)
SETTINGS = EndpointSettings(url="https://a.example/", subscriptions=(), secrets=())
OWED = Delivery(
    delivery_id="d", event_id="i", event_type="a.b", tenant="t", endpoint_id="e", endpoint_version="0-1",
    event_time_ms=1, sealed_with="k1", data=b"\x00sealed",
)  # fmt: skip


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_retry_and_a_dead_letter_carry_the_data_as_it_is_sealed(attempt: int) -> None:
    ended = outcome.classify_response(500, {}, b"what I got", latency_ms=1, now_ms=1)
    owed = OWED.model_copy(update={"attempt": attempt})
    result, made = settling.settle(owed, SETTINGS, ended, POLICY, attempted_at_ms=1, draw=0.0)
    assert result.response_excerpt is None
    assert made[1].value == b"\x00sealed"
    assert dict(made[1].headers)["sealed-with"] == b"k1"
    assert made[1].topic == (topics.RETRIES + "1s" if attempt == 1 else topics.DEAD_LETTERS)


def test_what_a_receiver_says_of_items_is_kept_only_where_none_of_them_is_sealed() -> None:
    answer = orjson.dumps({"failed": [{"id": "d", "error": "not this"}, {"id": "c", "error": "nor this"}]})
    clear = OWED.model_copy(update={"delivery_id": "c", "sealed_with": None})
    whole = outcome.classify_response(200, {}, b"said again", latency_ms=1, now_ms=1)
    (ended,) = batching.outcomes([clear], whole, answer)
    assert (ended.error, ended.response_excerpt) == ("the receiver failed this item: nor this", "said again")
    for one in batching.outcomes([OWED, clear], whole, answer):
        assert (one.error, one.response_excerpt) == ("the receiver failed this item", None)


def test_an_erased_delivery_ends_without_an_attempt() -> None:
    result, made = settling.erase(OWED.model_copy(update={"attempt": 3, "replay_id": "r"}), "why")
    assert result.error == "why"
    assert (result.verdict, result.error_kind, result.attempt, result.replay_id) == ("skipped", "erased", 0, "r")
    assert [one.topic for one in made] == [topics.RESULTS]


def test_a_delivery_says_what_it_is_sealed_with_to_who_reads_it() -> None:
    assert deliveries.decode(OWED.data, OWED.headers()) == OWED


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1, max_size=9)
NAMES = st.text("abcdefghij_0", min_size=1, max_size=9).filter(
    lambda name: name not in ("id", "type", "time", "data", "specversion", "datacontenttype", "data_base64")
)


@given(
    TEXT.filter(lambda text: not any(127 <= ord(c) < 160 for c in text)),
    st.dictionaries(NAMES, TEXT, max_size=3),
    st.sampled_from([None, "2026-01-02T03:04:05Z"]),
    st.sampled_from([None, "text/plain", "application/json"]),
    st.sampled_from([None, "00-" + "a" * 32 + "-" + "b" * 16 + "-01"]),
)
def test_the_record_of_a_sealed_event_reads_as_the_event(
    name: str, attributes: dict[str, str], time: str | None, kind: str | None, trace: str | None
) -> None:
    event = Event("t", name, "a.b", b"", True, time, kind, trace, attributes, Sealed("k1", b"\x00sealed"))
    value, headers = clouds.as_record(event)
    assert reading.read_event("t", value, headers, partition=0, offset=0, max_bytes=10) == event


def test_an_event_in_the_clear_is_not_written_as_if_it_were_sealed() -> None:
    with pytest.raises(ValueError, match="not sealed"):
        clouds.as_record(Event("t", "1", "a.b", b"1"))
