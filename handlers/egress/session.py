"""Requests through aiohttp's public `ClientSession`: slower than `direct`, and free of aiohttp's private names."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

from handlers.egress import connector
from handlers.egress.connector import Body, Connector
from handlers.egress.exchange import MAX_UNSENT, Request


class SessionExchange:
    """See `Exchange`. No redirect is followed, no cookie is kept."""

    def __init__(self, pool: Connector) -> None:
        self._session = ClientSession(
            connector=pool,
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            timeout=ClientTimeout(total=None, sock_connect=None),
            skip_auto_headers=("accept-encoding", "accept"),
        )
        connector.never_repeat(self._session)

    async def close(self) -> None:
        """See `Exchange.close`."""
        await self._session.close()

    async def exchange(self, url: URL, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        """See `Exchange.exchange`."""
        for _ in range(MAX_UNSENT):
            body = Body(request.body) if request.verb == "POST" else None
            try:
                return await self._once(url, request, body)
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as problem:
                if body is None or body.begun or isinstance(problem, aiohttp.ClientConnectorError):
                    raise
                unsent = problem
        raise unsent

    async def _once(self, url: URL, request: Request, body: Body | None) -> tuple[int, Mapping[str, str], bytes]:
        response = await self._session.request(
            request.verb,
            url,
            data=body,
            headers=request.headers,
            allow_redirects=False,
            ssl=request.context if request.context is not None else True,
        )
        try:
            answered = bytearray()
            limit = request.max_answer_bytes
            while len(answered) < limit and (chunk := await response.content.read(limit - len(answered))):
                answered += chunk
        except BaseException:
            response.close()
            raise
        if response.content.at_eof():
            response.release()
        else:
            response.close()
        return response.status, response.headers, bytes(answered)
