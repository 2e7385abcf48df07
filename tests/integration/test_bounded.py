"""A time limit holds against work that will not be cancelled."""

import asyncio
import time

import pytest

from streams.lane.bounded import Joined, within


async def stubborn(seconds: float) -> str:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    return "done"


async def test_what_is_quick_enough_returns_and_raises_as_it_does() -> None:
    assert await within(1.0, stubborn(0.01)) == "done"
    with pytest.raises(ZeroDivisionError):
        await within(1.0, asyncio.to_thread(lambda: 1 // 0))


async def test_what_swallows_its_cancellation_is_waited_for_no_longer_than_the_limit() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await within(0.1, stubborn(2.0))
    assert time.monotonic() - began < 1.0


async def test_a_cancellation_of_the_callers_own_passes_through_at_once() -> None:
    waiting = asyncio.create_task(within(5.0, stubborn(2.0)))
    await asyncio.sleep(0.05)
    waiting.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert time.monotonic() - began < 1.0


async def test_a_cancellation_that_the_library_lets_out_is_no_cancellation_of_the_caller() -> None:
    async def lets_out() -> None:
        raise asyncio.CancelledError

    with pytest.raises(TimeoutError):
        await within(1.0, lets_out())


async def test_who_asks_while_a_question_is_under_way_shares_its_answer_or_error_and_the_next_asks_anew() -> None:
    asked: list[int] = []

    async def ask() -> int:
        asked.append(len(asked))
        await asyncio.sleep(0)
        if len(asked) == 2:
            raise ValueError("no")
        return len(asked)

    question = Joined(ask)
    assert await asyncio.gather(*(question.answer() for _ in range(3))) == [1, 1, 1]
    told = await asyncio.gather(*(question.answer() for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in told] == [ValueError, ValueError]
    impatient = asyncio.create_task(question.answer())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await question.answer() == 3
    assert len(asked) == 3
