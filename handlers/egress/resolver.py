"""Name resolution that gives no address out of reach: what was checked is what is connected to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from streams.core import addresses

#: A name server may take half a minute to answer; the names of others must not wait for that.
MAX_LOOKUPS = 64


class Blocked(Exception):
    """The receiver's address is not one that deliveries may reach."""


class CheckingResolver(AbstractResolver):
    """Resolves through the system and keeps only addresses within reach. Raises `Blocked` where none is left."""

    def __init__(self, allowed: Sequence[addresses.Network]) -> None:
        self._allowed = allowed
        self._room = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """aiohttp's resolver interface. Raises OSError where the name has no address."""
        async with self._room:
            found = await _look_up(host, port, family)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        within = [address for address in found if addresses.refuse_address(address, self._allowed) is None]
        if not within:
            raise Blocked(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in within
        ]

    async def close(self) -> None:
        """aiohttp's resolver interface."""


async def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[str]:
    """The name's addresses, in the system's order, each once. Raises OSError.

    In a thread of its own: uvloop looks up two names at a time, asyncio as many as it has threads for everything, and
    both wait at the end for those that are under way.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def tell(given: list[str], problem: Exception | None) -> None:
        if found.done():
            return
        if problem is not None:
            found.set_exception(problem)
        else:
            found.set_result(given)

    def ask() -> None:
        given: list[str] = []
        problem: Exception | None = None
        try:
            rows = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            given = list(dict.fromkeys(str(place[0]) for *_, place in rows))
        except Exception as caught:
            problem = caught
            # Where no file can be opened, the system says that there is no such name.
            try:
                socket.socket().close()
            except OSError as ours:
                problem = ours
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, given, problem)

    threading.Thread(target=ask, name="hookfold-resolve", daemon=True).start()
    return await found
