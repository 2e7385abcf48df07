"""Deadlines: whoever has not ended by theirs is told, and nobody else."""

import asyncio
import time

from handlers.egress.deadlines import Deadlines


class Request:
    """Notes when it was late."""

    def __init__(self, all_late: list["Request"]) -> None:
        self.all_late = all_late
        self.late_at = 0.0

    def late(self) -> None:
        self.late_at = time.monotonic()
        self.all_late.append(self)


async def until(late: list[Request], count: int) -> None:
    async with asyncio.timeout(10):
        while len(late) < count:
            await asyncio.sleep(0.005)


async def test_each_is_told_after_its_own_time_and_those_that_have_ended_are_not() -> None:
    late: list[Request] = []
    deadlines, began = Deadlines(), time.monotonic()
    short, ended, long, last = (Request(late) for _ in range(4))
    deadlines.add(long, 120)
    deadlines.add(ended, 40)
    deadlines.add(short, 40)
    deadlines.remove(ended, 40)
    deadlines.remove(ended, 40)
    await until(late, 1)
    deadlines.add(last, 40)
    await until(late, 3)
    assert set(late) == {short, long, last}
    assert short.late_at - began >= 0.04
    assert long.late_at - began >= 0.12
    assert last.late_at - short.late_at >= 0.04


async def test_one_that_begins_when_another_is_late_has_its_time() -> None:
    late: list[Request] = []
    deadlines = Deadlines()
    second = Request(late)

    class First(Request):
        def late(self) -> None:
            super().late()
            deadlines.add(second, 30)

    first = First(late)
    deadlines.add(first, 30)
    await until(late, 2)
    assert late == [first, second]
    assert second.late_at - first.late_at >= 0.03
