"""Out-of-order completion neither loses nor repeats an offset, also across a crash."""

from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from streams.core import offsets, partitioning
from streams.core.offsets import OffsetWindow

#: Offsets of records in their order, with holes, and the order in which they are done.
RECORDS = st.lists(st.integers(1, 4), min_size=1, max_size=60).map(
    lambda steps: [sum(steps[: place + 1]) for place in range(len(steps))]
)


@given(RECORDS, st.data())
def test_each_offset_is_worked_on_until_it_is_done_exactly_once_over_crashes(
    records: list[int], data: st.DataObject
) -> None:
    committed: tuple[int, str] = (0, "")
    done: list[int] = []
    for _ in range(4):
        floor, metadata = committed
        window = OffsetWindow(floor, offsets.decode_metadata(floor, metadata))
        taken = [offset for offset in records if offset >= floor and window.take(offset)]
        assert not set(taken) & set(done)
        finished = data.draw(st.lists(st.sampled_from(taken), unique=True) if taken else st.just([]))
        for offset in finished:
            window.complete(offset)
        open_ones = set(taken) - set(finished)
        assert window.floor == min(open_ones, default=records[-1] + 1)
        if data.draw(st.booleans()):  # the commit went through before the crash
            committed = (window.floor, window.metadata())
            done += finished
    floor, metadata = committed
    window = OffsetWindow(floor, offsets.decode_metadata(floor, metadata))
    left = [offset for offset in records if offset >= floor and window.take(offset)]
    assert sorted(done + left) == records


def test_a_full_window_fits_a_commit() -> None:
    window = OffsetWindow(7)
    for offset in range(7, 7 + offsets.WINDOW):
        assert window.take(offset)
    for offset in range(8, 7 + offsets.WINDOW):
        window.complete(offset)
    assert window.floor == 7
    assert len(window.metadata()) <= 3_000
    assert len(offsets.decode_metadata(7, window.metadata())) == offsets.WINDOW - 1


def test_what_was_never_a_record_does_not_hold_the_floor() -> None:
    window = OffsetWindow(0)
    assert window.take(5)
    window.complete(5)
    assert window.floor == 6
    window.skip_to(9)
    assert (window.floor, window.span) == (9, 0)


def test_an_offset_is_taken_once() -> None:
    window = OffsetWindow(0)
    assert window.take(0)
    assert not window.take(0)
    assert window.holds(0)


@given(st.text())
def test_metadata_of_somebody_else_says_nothing_and_harms_nothing(metadata: str) -> None:
    assert all(offset >= 3 for offset in offsets.decode_metadata(3, metadata))


@given(st.binary(max_size=300))
def test_keys_are_placed_as_kafka_places_them(key: bytes) -> None:
    assert partitioning.murmur2(key) == kafka_murmur2(key) & 0xFFFFFFFF


def test_a_key_belongs_where_the_java_client_puts_it() -> None:
    # From Kafka's own UtilsTest, as signed integers.
    for key, signed in {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}.items():
        assert partitioning.murmur2(key) == signed & 0xFFFFFFFF
