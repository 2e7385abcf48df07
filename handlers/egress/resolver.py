"""Name resolution that gives no address out of reach: what was checked is what is connected to."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from streams.core import addresses


class Blocked(Exception):
    """The receiver's address is not one that deliveries may reach."""


class CheckingResolver(AbstractResolver):
    """Resolves through the system and keeps only addresses within reach. Raises `Blocked` where none is left."""

    def __init__(self, allowed: Sequence[addresses.Network]) -> None:
        self._allowed = allowed
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """aiohttp's resolver interface."""
        found = await self._resolver.resolve(host, port, family)
        within = [result for result in found if addresses.refuse_address(result["host"], self._allowed) is None]
        if found and not within:
            raise Blocked(host)
        return within

    async def close(self) -> None:
        """aiohttp's resolver interface."""
        await self._resolver.close()
