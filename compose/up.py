"""Everything on this machine: Kafka, topics and every service; for `hookfold up` and the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import click

from compose import secrets
from compose.kafka import LocalKafka
from compose.supervisor import Supervisor, one_each
from schemas.settings import DelayerSettings, EgressSettings, GatewaySettings, RouterSettings, Settings
from streams import provisioning

#: What events pass through; the gateway stands beside it.
PIPELINE = ("router", "egress", "delayer")
SERVICES = (*PIPELINE, "gateway")
READY_TIMEOUT_S = 90.0


def say(line: str) -> None:
    """To whoever started us."""
    click.echo(line, err=True)


@contextlib.contextmanager
def broker_for(settings: Settings, data_dir: Path, port: int) -> Iterator[LocalKafka | None]:
    """A local Kafka, unless HOOKFOLD_KAFKA names one. Raises `KafkaFailed` or `PackagesMissing`."""
    with ExitStack() as stack:
        if "kafka" in settings.model_fields_set:
            say(f"using the Kafka at {settings.kafka}")
            yield None
        else:
            say("starting Kafka …")
            yield stack.enter_context(LocalKafka(data_dir, port))


def stack_env(kafka: str, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of the children. They run from wherever this process does, with the same code."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "HOOKFOLD_KAFKA": kafka, **more}


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def wait_ready(ports: Mapping[str, int], stop: asyncio.Event) -> bool:
    """True when every /readyz says so; False after 90 s, or when `stop` is set."""
    until = asyncio.get_running_loop().time() + READY_TIMEOUT_S
    waiting = set(ports)
    while waiting and not stop.is_set() and asyncio.get_running_loop().time() < until:
        for name in sorted(waiting):
            if await asyncio.to_thread(is_ready, ports[name]):
                waiting.discard(name)
        await asyncio.sleep(0.1)
    return not waiting


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and Ctrl-C set `stop`."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)


def run(router: RouterSettings, egress: EgressSettings, delayer: DelayerSettings, gateway: GatewaySettings) -> int:
    """`hookfold up`: everything, until SIGTERM or Ctrl-C; the exit status."""
    with broker_for(router, router.data_dir / "kafka", 9092) as broker:
        return asyncio.run(_up(router, egress, delayer, gateway, broker))


async def _up(
    router: RouterSettings,
    egress: EgressSettings,
    delayer: DelayerSettings,
    gateway: GatewaySettings,
    broker: LocalKafka | None,
) -> int:
    stop = asyncio.Event()
    stop_on_signals(stop)
    provisioned = await provisioning.provision(router)
    for difference in provisioned.differences:
        say(f"differs: {difference}")
    more = {} if gateway.api_secrets else {"HOOKFOLD_API_SECRET": secrets.make_secret(gateway.data_dir)}
    supervisor = Supervisor(one_each(SERVICES), stack_env(router.kafka, more), say, broker=broker)
    ports = {
        "router": router.router_port,
        "egress": egress.egress_port,
        "delayer": delayer.delayer_port,
        "gateway": gateway.gateway_port,
    }
    async with supervisor.running(stop):
        if await wait_ready(ports, stop):
            say(
                f"hookfold.ready kafka={router.kafka} prefix={router.prefix} "
                f"api=http://{router.bind}:{ports['gateway']}/docs stats=http://{router.bind}:{ports['router']}/"
            )
        elif not stop.is_set():
            say("not everything has become ready; the lines above say why. Still trying.")
        await stop.wait()
    sys.stderr.flush()
    return 0


def is_ready(port: int) -> bool:
    """What the /readyz at this port says; False where nobody answers within 2 s."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
