"""Time limits that hold, also where the library underneath swallows a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

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


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
