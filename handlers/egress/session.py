"""Requests through aiohttp's public `ClientSession`: slower than `direct`, and free of aiohttp's private names."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

from handlers.egress import connector
from handlers.egress.connection import Answered
from handlers.egress.connector import Body, Connector
from handlers.egress.exchange import MAX_UNSENT, Over, Request


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
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """See `Exchange.close`."""
        await self._session.close()

    def begin(self, url: URL, request: Request, over: Over) -> asyncio.Task[None]:
        """See `Exchange.begin`."""
        task = asyncio.get_running_loop().create_task(self._run(url, request, over))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def flush(self) -> None:
        """See `Exchange.flush`: a task sends by itself."""

    async def _run(self, url: URL, request: Request, over: Over) -> None:
        answered: Answered
        try:
            async with asyncio.timeout(request.timeout_ms / 1_000):
                answered = await self._repeated(url, request)
        except Exception as problem:
            answered = problem
        over(answered)

    async def _repeated(self, url: URL, request: Request) -> Answered:
        for _ in range(MAX_UNSENT):
            body = Body(request.body) if request.verb == "POST" else None
            try:
                return await self._once(url, request, body)
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as problem:
                if body is None or body.begun or isinstance(problem, aiohttp.ClientConnectorError):
                    raise
                unsent = problem
        raise unsent

    async def _once(self, url: URL, request: Request, body: Body | None) -> Answered:
        response = await self._session.request(
            request.verb,
            url,
            data=body,
            headers=[*(_pair(line) for line in request.lines.split("\r\n")[:-1]), *request.headers],
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


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name, value
