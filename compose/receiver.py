"""A receiver to try things with: it verifies what it gets, answers every handshake, and misbehaves as the path says."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import orjson
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from streams.core import keys

MAX_BODY_BYTES = 16 * 1_048_576


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it came, and what was answered. `verified`: `yes`, `no` or `unsigned`."""

    method: str
    path: str
    webhook_id: str | None
    attempt: int | None
    at_ms: int
    verified: str
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a path asks for: `/delay/2000/status/503`, `/drip/10`, `/reset`; anything else is a 204 at once.

    `flaky`: one webhook id in so many fails the first time; `failing`: every time.
    """

    status: int = 204
    delay_ms: int = 0
    drip_s: int = 0
    reset: bool = False
    flaky: int = 0
    failing: int = 0


def behaviour(path: str) -> Behaviour:
    """The behaviour in a path. Words that mean nothing are passed over."""
    words = [word for word in path.split("/") if word]
    told: dict[str, int] = {}
    for word, following in itertools.pairwise(words):
        if following.isascii() and following.isdigit() and len(following) < 7:
            told[word] = int(following)
    status = told.get("status", 204)
    return Behaviour(
        status if 200 <= status < 600 else 204,
        told.get("delay", 0),
        told.get("drip", 0),
        "reset" in words,
        told.get("flaky", 0),
        told.get("failing", 0),
    )


def verified(secrets: Sequence[str], headers: dict[str, str], body: bytes) -> str:
    """`yes`, `no`, or `unsigned`. A secret is `whsec_…`, or `whpk_…` for `v1a` signatures."""
    if "webhook-signature" not in headers:
        return "unsigned"
    return "yes" if any(_verifies(secret, headers, body) for secret in secrets) else "no"


def _verifies(secret: str, headers: dict[str, str], body: bytes) -> bool:
    if not secret.startswith(keys.PUBLIC):
        try:
            Webhook(secret).verify(body, headers)
        except WebhookVerificationError:
            return False
        return True
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(secret.removeprefix(keys.PUBLIC)))
    signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
    for one in headers["webhook-signature"].split(" "):
        version, _, signature = one.partition(",")
        try:
            if version == "v1a":
                key.verify(base64.b64decode(signature), signed)
                return True
        except (InvalidSignature, ValueError):
            continue
    return False


def handshake(request: web.Request, body: bytes) -> web.Response | None:
    """The answer to any of the handshakes; None for what is not one."""
    if (challenge := request.headers.get("x-okta-verification-challenge")) is not None:
        return web.json_response({"verification": challenge})
    if (origin := request.headers.get("webhook-request-origin")) is not None:
        return web.Response(headers={"webhook-allowed-origin": origin})
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(told, dict) and told.get("type") == "hookfold.verification":
        return web.json_response({"challenge": told.get("challenge")})
    return None


class TrialReceiver:
    """Listens on 127.0.0.1 while it is entered; `port` 0 is a free one. Raises OSError where it is taken.

    `secrets`: see `verified`; `show` is called with each request before it is answered.
    """

    def __init__(self, secrets: Sequence[str], show: Callable[[Arrival], None], port: int = 0) -> None:
        self.url = ""
        self._secrets = secrets
        self._show = show
        self._port = port
        self._seen: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        wanted = behaviour(request.path)
        answered = handshake(request, body)
        status = answered.status if answered is not None else self._status(wanted, headers.get("webhook-id", ""))
        attempt = headers.get("webhook-attempt", "")
        self._show(
            Arrival(
                request.method,
                request.path,
                headers.get("webhook-id"),
                int(attempt) if attempt.isascii() and attempt.isdigit() else None,
                int(time.time() * 1000),
                verified(self._secrets, headers, body),
                status,
                body,
            )
        )
        if answered is not None:
            return answered
        await asyncio.sleep(wanted.delay_ms / 1000)
        if wanted.reset and request.transport is not None:
            request.transport.abort()
        if not wanted.drip_s:
            return web.Response(status=status)
        stream = web.StreamResponse(status=200 if status == 204 else status)
        await stream.prepare(request)
        for _ in range(wanted.drip_s):
            await stream.write(b".")
            await asyncio.sleep(1)
        return stream

    def _status(self, wanted: Behaviour, webhook_id: str) -> int:
        self._seen[webhook_id] += bool(wanted.flaky)
        draw = zlib.crc32(webhook_id.encode())
        fails_now = bool(wanted.flaky) and draw % wanted.flaky == 0 and self._seen[webhook_id] == 1
        fails_always = bool(wanted.failing) and draw % wanted.failing == 0
        return 500 if fails_now or fails_always else wanted.status
