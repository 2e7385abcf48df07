"""What is remembered is what was put, of as many bytes as there may be, and a round of too many finds most of it."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.remembering import TAKEN_IN, Remembered


@dataclass
class Value:
    """Has a number, and a size that changes."""

    number: int
    size: int


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask", "forget", "grow"]), st.integers(0, 9), st.integers(1, 40)),
    max_size=200,
)


@settings(max_examples=100)
@given(STEPS, st.integers(1, 100))
def test_nothing_else_is_found_than_what_was_put_last_and_no_more_is_kept_than_there_is_room_for(
    steps: list[Any], room: int
) -> None:
    kept, last = Remembered[int, Value](room), dict[int, Value]()
    for number, (kind, key, size) in enumerate(steps):
        found = kept.get(key)
        assert found is None or found is last[key]
        match kind:
            case "ask" if found is None:
                kept.put(key, last.setdefault(key, Value(number, size)))
                assert kept.get(key) is last[key]
            case "grow" if found is not None:
                found.size += size
                kept.grown(key, size)
            case "forget":
                kept.forget(key)
                last.pop(key, None)
                assert kept.get(key) is None
        known = [last[key] for key in last if kept.get(key) is not None]
        assert len(known) == len(kept)
        assert sum(one.size for one in known) - kept.bytes in (0, *(one.size for one in known))  # of a guest
        assert kept.bytes <= room or len(kept) - kept.full == 1


def test_a_round_of_twice_as_many_as_there_is_room_for_finds_a_good_part_of_them() -> None:
    kept = Remembered[int, Value](100)
    found = 0
    for _ in range(20):
        for key in range(200):
            if kept.get(key) is None:
                kept.put(key, Value(key, 1))
            else:
                found += 1
    assert found > 19 * 200 * 0.4  # half of them is what there is room for


def test_who_is_asked_for_all_the_time_stays_while_others_pass_by() -> None:
    kept, own = Remembered[int, Value](100), Value(-1, 10)
    kept.put(-1, own)
    for key in range(100 * TAKEN_IN * 2):
        kept.put(key, Value(key, 1))
        assert kept.get(-1) is own


def test_after_a_while_what_is_asked_for_now_is_found() -> None:
    kept = Remembered[int, Value](100)
    for key in range(100):
        kept.put(key, Value(key, 1))
    for _ in range(4 * TAKEN_IN):
        for key in range(1_000, 1_090):
            if kept.get(key) is None:
                kept.put(key, Value(key, 1))
    assert all(kept.get(key) for key in range(1_000, 1_090))


def test_one_that_is_larger_than_the_room_is_found_for_as_long_as_it_is_the_last() -> None:
    kept, large = Remembered[int, Value](10), Value(0, 50)
    for number in range(1, 3 * TAKEN_IN):
        kept.put(number, Value(number, 50))
        if kept.get(0) is None:
            kept.put(0, large)
        assert kept.get(0) is large
