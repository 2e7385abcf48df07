"""A library that says the same a thousand times is heard now and then; what is ours is always heard."""

import logging

from compose.logs import REPEAT_S, Repeats


def record(name: str, message: str, *words: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, words, None)


def test_a_librarys_message_comes_once_and_then_with_the_count_of_what_was_left_out() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    assert repeats.filter(record("aiokafka.client", "no node %d", 1))
    assert not any(repeats.filter(record("aiokafka.client", "no node %d", number)) for number in range(2, 6))
    assert repeats.filter(record("aiokafka.client", "another"))
    now[0] = REPEAT_S
    again = record("aiokafka.client", "no node %d", 7)
    assert repeats.filter(again)
    assert again.getMessage() == "no node 7 (and 4 more like it)"


def test_our_own_lines_all_come() -> None:
    repeats = Repeats(lambda: 0.0)
    assert all(repeats.filter(record("streams.lane.lane", "lane.broken")) for _ in range(3))
