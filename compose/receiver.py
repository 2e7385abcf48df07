"""The demo's receiver: it verifies every POST with the official library, and fails on purpose by plan."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

#: One delivery in so many fails at its first attempt on /flaky, and at every attempt on /failing.
FLAKY_SHARE = 4
FAILING_SHARE = 12


@dataclass(frozen=True)
class Arrival:
    """One POST."""

    path: str
    webhook_id: str
    attempt: int
    at_ms: int
    verified: bool
    status: int


class DemoReceiver:
    """Listens on a free port of 127.0.0.1 while it is entered."""

    def __init__(self, secret: str) -> None:
        self.arrivals: list[Arrival] = []
        self.url = ""
        self._webhook = Webhook(secret)
        self._seen: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            self._webhook.verify(body, headers)
            verified = True
        except WebhookVerificationError:
            verified = False
        webhook_id = headers.get("webhook-id", "")
        self._seen[webhook_id] += 1
        status = self._status(request.path, webhook_id) if verified else 401
        attempt = int(headers.get("webhook-attempt", "0"))
        self.arrivals.append(Arrival(request.path, webhook_id, attempt, int(time.time() * 1000), verified, status))
        return web.Response(status=status, text="" if status == 204 else "failing on purpose")

    def _status(self, path: str, webhook_id: str) -> int:
        draw = zlib.crc32(webhook_id.encode())
        if path == "/flaky" and draw % FLAKY_SHARE == 0 and self._seen[webhook_id] == 1:
            return 500
        if path == "/failing" and draw % FAILING_SHARE == 0:
            return 503
        return 204
