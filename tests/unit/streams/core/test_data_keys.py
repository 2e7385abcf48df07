"""Data at rest: sealed, it opens with its key as the data of its event, and as nothing else."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.events import SEALED_HEADER, Event, Sealed
from streams.core import data_keys, puncturing, reading
from streams.core.outputs import MAX_BYTES, Output, Source
from streams.core.reading import Unreadable
from streams.core.sealing import CannotOpen, KeyMissing, Keyring
from streams.erasure.held import HeldKeys

RING = Keyring({"new": bytes(range(32)), "old": bytes(range(32, 64))})
KEY = puncturing.whole(bytes(range(16)))
WHERE = ("t", "k1", "e-1")


@given(st.binary(max_size=500))
def test_sealed_data_opens_again_and_shows_nothing(data: bytes) -> None:
    sealed = data_keys.seal(KEY, *WHERE, data)
    assert sealed is not None
    assert len(sealed) == len(data) + data_keys.OVERHEAD_BYTES
    assert len(data) < 4 or data not in sealed
    assert data_keys.unseal(KEY, *WHERE, sealed) == data
    assert data_keys.seal(KEY, *WHERE, data) == sealed


@pytest.mark.parametrize("where", [("u", "k1", "e-1"), ("t", "k2", "e-1"), ("t", "k1", "e-2"), ("t", "k1/e", "-1")])
def test_it_opens_as_the_data_of_its_event_alone(where: tuple[str, str, str]) -> None:
    sealed = data_keys.seal(KEY, *WHERE, b"data")
    assert sealed is not None
    with pytest.raises(CannotOpen, match="another event"):
        data_keys.unseal(KEY, *where, sealed)


@given(st.integers(0, 31))
def test_no_changed_bit_opens(place: int) -> None:
    sealed = bytearray(data_keys.seal(KEY, *WHERE, b"data") or b"")
    sealed[place] ^= 1
    with pytest.raises(CannotOpen):
        data_keys.unseal(KEY, *WHERE, bytes(sealed))


def test_an_erased_event_is_neither_opened_nor_sealed_and_others_are() -> None:
    sealed = [data_keys.seal(KEY, "t", "k1", name, b"data") or b"" for name in ("e-1", "e-2")]
    left = puncturing.puncture(KEY, [puncturing.leaf_of("e-1")])
    assert data_keys.unseal(left, "t", "k1", "e-1", sealed[0]) is None
    assert data_keys.seal(left, "t", "k1", "e-1", b"data") is None
    assert data_keys.unseal(left, "t", "k1", "e-2", sealed[1]) == b"data"


def held(*made: Output, ring: Keyring = RING) -> HeldKeys:
    keys = HeldKeys(ring)
    for offset, one in enumerate(made):
        keys.put(Source("hookfold.keys", 0, offset, 1_000 + offset, one.key, one.value, one.headers))
    return keys


def dropped(name: str) -> Output:
    return Output(topics.KEYS, name.encode(), None)


MARK = Output(topics.KEYS, b"t", b'{"type":"tenant.erased"}')


def of(key_id: str, leaves: Sequence[str] = (), tenant: str = "t") -> Output:
    key = puncturing.puncture(puncturing.whole(key_id.ljust(16).encode()), map(puncturing.leaf_of, leaves))
    return data_keys.record(RING, tenant, key_id, key, 3)


def test_a_key_is_written_sealed_and_read_for_its_tenant_alone() -> None:
    made = of("k1")
    assert (made.topic, made.key, made.partition) == ("keys", b"t/k1", 3)
    assert b"k1".ljust(16) not in (made.value or b"")
    assert held(made).key("t", "k1") == puncturing.whole(b"k1".ljust(16))
    assert held(made).key("u", "k1") is None
    with pytest.raises(CannotOpen):
        held(Output(topics.KEYS, b"u/k1", made.value, made.headers)).key("u", "k1")
    with pytest.raises(KeyMissing, match="not in HOOKFOLD_SEAL_KEYS"):
        held(made, ring=Keyring({"old": bytes(range(32, 64))})).key("t", "k1")


def test_the_newest_key_seals_that_not_too_much_was_erased_from() -> None:
    many = [f"e-{number}" for number in range(data_keys.MAX_SEALING)]
    assert held().sealing("t") is None
    assert (held(of("k1"), of("k2"), of("k3", tenant="u")).sealing("t") or [""])[0] == "k2"
    assert (held(of("k1"), of("k2", many)).sealing("t") or [""])[0] == "k1"
    assert held(of("k2", many)).sealing("t") is None
    assert (held(of("k1"), of("k2"), dropped("t/k2")).sealing("t") or [""])[0] == "k1"


def test_a_dropped_key_is_forgotten_also_where_it_was_open() -> None:
    keys = held(of("k1"), of("k2"))
    assert keys.key("t", "k1") is not None
    keys.put(Source("hookfold.keys", 0, 9, 9, b"t/k1", None))
    assert keys.key("t", "k1") is None
    assert keys.ids("t") == ["k2"]
    keys.forget(lambda tenant: tenant == "t")
    assert (keys.ids("t"), keys.key("t", "k2")) == ([], None)


def test_data_in_the_clear_is_erased_by_its_id_under_any_key_or_by_its_time() -> None:
    keys = held(of("k1", ["e-1"]), of("k2"), MARK)
    assert keys.is_erased("t", "e-1", 9_999)
    assert not keys.is_erased("t", "e-2", 1_003)
    assert keys.is_erased("t", "e-2", 1_002)
    assert not keys.is_erased("u", "e-1", 0)


def test_a_key_from_which_as_much_was_erased_as_may_be_fits_into_its_record() -> None:
    full = of("k1", [f"e-{number}" for number in range(data_keys.MAX_ERASED)])
    assert full.size < MAX_BYTES[topics.KEYS] // 2


SEALED_EVENT = [("ce_id", b"e-1"), ("ce_type", b"a.b"), ("content-type", b"application/json"), (SEALED_HEADER, b"k1")]


def read(value: bytes, headers: list[tuple[str, bytes]], max_bytes: int = 100) -> Event | Unreadable:
    return reading.read_event("t", value, headers, partition=0, offset=0, max_bytes=max_bytes)


def test_a_sealed_event_is_read_without_its_data_and_may_be_as_much_longer() -> None:
    event = read(b"x" * 128, SEALED_EVENT)
    assert isinstance(event, Event)
    assert (event.data, event.sealed, event.erased) == (b"", Sealed("k1", b"x" * 128), False)
    assert read(b"x" * 129, SEALED_EVENT) == Unreadable("the event has 129 bytes, 128 are allowed")


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"x", SEALED_EVENT[1:]),
        (b"x", [*SEALED_EVENT[:3], (SEALED_HEADER, b"a/b")]),
        (b"x", [*SEALED_EVENT[:3], (SEALED_HEADER, b"\xff")]),
        (b'{"type":"a.b","id":"e-1","data":1}', [(SEALED_HEADER, b"k1")]),
    ],
)
def test_what_says_that_it_is_sealed_and_cannot_be_is_not_read(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    assert read(value, headers) == Unreadable(
        "sealed data belongs to a CloudEvent in headers with an id, and names its key"
    )
