"""Requests that are written together: none before its time, and none that suffers for another."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from handlers.egress.client import Client
from handlers.egress.connection import Answered, Receiving
from handlers.egress.direct import MAX_BEGUN
from tests.integration.test_keep_alive import OPEN, Server, request


async def ended(told: dict[int, Answered], count: int) -> None:
    async with asyncio.timeout(10):
        while len(told) < count:
            await asyncio.sleep(0.01)


def noted(told: dict[int, Answered], number: int) -> Callable[[Answered], None]:
    return lambda came: told.update({number: came})


async def test_nothing_is_written_before_the_flush_and_more_than_so_many_do_not_wait_for_it() -> None:
    async with Server().serving() as server, Client(OPEN) as client:
        told: dict[int, Answered] = {}
        for number in range(MAX_BEGUN + 1):
            client.begin(request(server, number), noted(told, number))
        assert not told
        await ended(told, MAX_BEGUN)
        await asyncio.sleep(0.05)
        assert sum(server.ids.values()) == len(told) == MAX_BEGUN
        client.flush()
        await ended(told, MAX_BEGUN + 1)
        assert set(server.ids.values()) == {1}


async def test_a_request_that_is_given_up_before_it_is_written_is_never_sent() -> None:
    async with Server().serving() as server, Client(OPEN) as client:
        told: dict[int, Answered] = {}
        running = [client.begin(request(server, number), noted(told, number)) for number in range(3)]
        assert running[1] is not None
        running[1].cancel()
        client.flush()
        await ended(told, 2)
        assert sorted(server.ids) == [b"id-0", b"id-2"]
        assert sorted(told) == [0, 2]


async def test_one_that_cannot_be_written_and_one_whose_answer_is_not_taken_hold_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = Receiving.ask

    def odd(self: Receiving, written: bytes, *arguments: Any) -> None:
        if b"id-1\r" in written:
            raise RuntimeError("the transport is gone")
        ask(self, written, *arguments)

    def refuse(came: Answered) -> None:
        raise AssertionError(came)

    async with Server().serving() as server, Client(OPEN) as client:
        await asyncio.gather(*(client.send(request(server, number)) for number in range(100, 104)))
        monkeypatch.setattr(Receiving, "ask", odd)
        told: dict[int, Answered] = {}
        for number in range(4):
            client.begin(request(server, number), refuse if number == 2 else noted(told, number))
        client.flush()
        await ended(told, 3)
        assert isinstance(told[1], RuntimeError)
        assert told[0][0] == told[3][0] == 200  # type: ignore[index]
        again = await client.send(request(server, 9))
        assert again.outcome.accepted
        assert {server.ids[b"id-%d" % number] for number in (0, 2, 3, 9)} == {1}
