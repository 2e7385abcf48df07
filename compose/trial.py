"""`hookfold receiver`: a receiver to try things with, that shows what it gets."""

from __future__ import annotations

import asyncio
import signal

import click
import orjson

from compose.commands import EXIT_WRONG, Command, fail
from compose.receiver import Arrival, TrialReceiver
from streams.core import keys

MAX_SHOWN = 200


@click.command("receiver", cls=Command)
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True)
@click.option("--secret", "secrets", multiple=True, help="whsec_… or whpk_…; may be given repeatedly.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each request.")
def receiver(port: int, secrets: tuple[str, ...], as_json: bool) -> None:
    """Receive on 127.0.0.1, show and verify what comes, and answer every handshake.

    The path says how it behaves: /status/503, /delay/2000 (ms), /drip/10 (a byte a second), /reset, /flaky/4 (one
    delivery in four fails the first time), /failing/4 (every time), and several of them one after the other; any other
    path is accepted at once. Hookfold has to be allowed to reach it: HOOKFOLD_ALLOW_HTTP=1 and
    HOOKFOLD_ALLOW_NETWORKS=127.0.0.0/8.
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
    try:
        async with TrialReceiver(secrets, lambda arrival: _show(arrival, as_json), port) as listening:
            click.echo(f"receiver.ready url={listening.url}", err=True)
            await stop.wait()
    except OSError as problem:
        fail(str(problem), EXIT_WRONG)


def _show(arrival: Arrival, as_json: bool) -> None:
    text = arrival.body.decode("utf-8", "replace")
    if as_json:
        told = {name: getattr(arrival, name) for name in ("at_ms", "method", "path", "webhook_id", "attempt")}
        click.echo(orjson.dumps({**told, "verified": arrival.verified, "status": arrival.status, "body": text}))
        return
    click.echo(
        f"{arrival.method} {arrival.path} id={arrival.webhook_id} attempt={arrival.attempt} "
        f"verified={arrival.verified} -> {arrival.status}  {' '.join(text.split())[:MAX_SHOWN]}"
    )
