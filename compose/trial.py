"""`hookfold receiver`: a receiver to try things with; it shows and verifies what it gets, and misbehaves by path."""

from __future__ import annotations

import asyncio
import base64
import signal
import time
from dataclasses import dataclass

import click
import orjson
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from compose.commands import EXIT_WRONG, Command, fail
from streams.core import keys

MAX_SHOWN = 200
MAX_BODY_BYTES = 16 * 1_048_576


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a path asks for: `/delay/2000/status/503`, `/drip/10`, `/reset`; anything else is a 204 at once."""

    status: int = 204
    delay_ms: int = 0
    drip_s: int = 0
    reset: bool = False


def behaviour(path: str) -> Behaviour:
    """The behaviour in a path. Words that mean nothing are passed over."""
    status, delay_ms, drip_s, reset = 204, 0, 0, False
    words = [word for word in path.split("/") if word]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        number = int(following) if following.isascii() and following.isdigit() and len(following) < 7 else None
        if word == "status" and number is not None and 200 <= number < 600:
            status = number
        elif word == "delay" and number is not None:
            delay_ms = number
        elif word == "drip" and number is not None:
            drip_s = number
        elif word == "reset":
            reset = True
    return Behaviour(status, delay_ms, drip_s, reset)


def verified(secrets: tuple[str, ...], headers: dict[str, str], body: bytes) -> str:
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


@click.command("receiver", cls=Command)
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True)
@click.option("--secret", "secrets", multiple=True, help="whsec_… or whpk_…; may be given repeatedly.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each request.")
def receiver(port: int, secrets: tuple[str, ...], as_json: bool) -> None:
    """Receive on 127.0.0.1, show and verify what comes, and answer every handshake.

    The path says how it behaves: /status/503, /delay/2000 (ms), /drip/10 (a byte a second), /reset, and several of
    them one after the other; any other path is accepted at once. Hookfold has to be allowed to reach it:
    HOOKFOLD_ALLOW_HTTP=1 and HOOKFOLD_ALLOW_NETWORKS=127.0.0.0/8.
    """
    for secret in secrets:
        refused = None if secret.startswith(keys.PUBLIC) else keys.refuse(secret)
        if refused is not None:
            fail(f"--secret: {refused}")
    asyncio.run(_serve(port, secrets, as_json))


async def _serve(port: int, secrets: tuple[str, ...], as_json: bool) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)

    async def take(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        wanted = behaviour(request.path)
        answered = handshake(request, body)
        status = answered.status if answered is not None else wanted.status
        _show(request, headers, body, verified(secrets, headers, body), status, as_json)
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

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as problem:
        await runner.cleanup()
        fail(str(problem), EXIT_WRONG)
    click.echo(f"receiver.ready url=http://127.0.0.1:{runner.addresses[0][1]}", err=True)
    await stop.wait()
    await runner.cleanup()


def _show(request: web.Request, headers: dict[str, str], body: bytes, signed: str, status: int, as_json: bool) -> None:
    told = {
        "at_ms": int(time.time() * 1000),
        "method": request.method,
        "path": request.path,
        "webhook_id": headers.get("webhook-id"),
        "attempt": headers.get("webhook-attempt"),
        "verified": signed,
        "status": status,
        "body": body.decode("utf-8", "replace"),
    }
    if as_json:
        click.echo(orjson.dumps(told))
        return
    shown = " ".join(told["body"].split()) if isinstance(told["body"], str) else ""
    click.echo(
        f"{request.method} {request.path} id={told['webhook_id']} attempt={told['attempt']} verified={signed} "
        f"-> {status}  {shown[:MAX_SHOWN]}"
    )
