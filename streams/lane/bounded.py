"""Time limits that hold, also where a library swallows a cancellation; and questions that are asked once for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")


async def within(seconds: float, work: Coroutine[Any, Any, _Result]) -> _Result:
    """What `work` returns or raises. Raises TimeoutError after `seconds`, and no longer waits for it then.

    `asyncio.timeout` cancels and then waits for the end, which aiokafka's clients may withhold for ever. They also let
    a cancellation of their own tasks out where the broker is away: that is a TimeoutError here, too.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done() or task.cancelled():
            raise TimeoutError(f"no answer within {seconds:g} s")
        return task.result()
    finally:
        if not task.done():
            task.add_done_callback(_forget)
            task.cancel()


class Joined(Generic[_Result]):
    """A question that many may have at a time: who comes while it is asked gets the same answer, or error."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, _Result]]) -> None:
        self._ask = ask
        self._task: asyncio.Task[_Result] | None = None

    async def answer(self) -> _Result:
        """What `ask` returns or raises."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._ask())
            self._task.add_done_callback(_forget)
        return await asyncio.shield(self._task)


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
