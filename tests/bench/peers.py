"""Other systems on the same machine, receiver and offer, where their binaries are given: what their deliveries cost.

BENCH_SVIX: svix-server; it needs BENCH_POSTGRES and BENCH_REDIS. BENCH_OUTPOST: outpost, with outpost-server in the
same folder; it needs BENCH_RABBITMQ, too. These are URLs of servers on this machine, whose processes are found by their
ports and count as much as the peer's own; a database is the peer's alone. BENCH_PEER_EVENTS says how many events
(5,000), BENCH_PEER_TENANTS of how many tenants (20), BENCH_PEER_FAN to how many endpoints each goes (1).
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import psutil

from compose import up
from tests.bench import offering, system
from tests.bench.offering import Figures
from tests.bench.receiving import receiving

EVENTS = int(os.environ.get("BENCH_PEER_EVENTS", "5000"))
FAN = int(os.environ.get("BENCH_PEER_FAN", "1"))
TENANTS = int(os.environ.get("BENCH_PEER_TENANTS", "20"))
PUBLISHERS = 32
#: A database remembers earlier runs.
RUN = f"{time.time():.0f}"
READY_S = 60.0
#: Attempts are written down in batches; what that costs belongs to them.
AFTER_S = 12.0
#: Where 127.0.0.1 has its servers, by the variable that says so.
SERVERS = {"postgres": "BENCH_POSTGRES", "redis": "BENCH_REDIS", "rabbitmq": "BENCH_RABBITMQ"}


@dataclass
class Peer:
    """A system of other people. `servers`: those of `SERVERS` that it needs.

    `call` is a path and a body; `begin` and `endpoint` make a tenant and an endpoint of its, `publish` an event.
    """

    name: str
    binary: str
    servers: tuple[str, ...]
    env: Callable[[int, Mapping[str, str]], dict[str, str]]
    before: tuple[tuple[str, ...], ...]
    ready: str
    token: Callable[[str, Mapping[str, str]], Any]
    begin: Callable[[str], tuple[str, str, object]]
    endpoint: Callable[[str, str], tuple[str, str, object]]
    publish: Callable[[str, object, int], tuple[str, object]]
    serve: tuple[str, ...] = ()


async def _printed(command: list[str], env: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaint = await asyncio.wait_for(process.communicate(), READY_S)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {complaint.decode()[-500:]}")
    return said.decode()


async def _svix_token(binary: str, env: Mapping[str, str]) -> str:
    """Its command prints a sentence with a token in it."""
    return (await _printed([binary, "jwt", "generate"], env)).split()[-1]


async def _outpost_token(binary: str, env: Mapping[str, str]) -> str:
    return env["API_KEY"]


def svix(binary: str) -> Peer:
    """Svix: a process for API and workers, Postgres, and Redis for the queue."""
    return Peer(
        name="svix",
        binary=binary,
        servers=("postgres", "redis"),
        env=lambda port, at: {
            "SVIX_LISTEN_ADDRESS": f"127.0.0.1:{port}", "SVIX_JWT_SECRET": "bench" * 8, "SVIX_DB_DSN": at["postgres"],
            "SVIX_REDIS_DSN": at["redis"], "SVIX_QUEUE_TYPE": "redis", "SVIX_CACHE_TYPE": "memory",
            "SVIX_WHITELIST_SUBNETS": '["127.0.0.0/8"]',
        },
        before=(("migrate",),),
        ready="/api/v1/health/",
        token=_svix_token,
        begin=lambda tenant: ("POST", "/api/v1/app/", {"name": tenant, "uid": tenant}),
        endpoint=lambda tenant, url: ("POST", f"/api/v1/app/{tenant}/endpoint/", {"url": url, "version": 1}),
        publish=lambda tenant, data, number: (
            f"/api/v1/app/{tenant}/msg/", {"eventType": "order.made", "eventId": f"{RUN}-{number}", "payload": data},
        ),
    )  # fmt: skip


def outpost(binary: str) -> Peer:
    """Hookdeck Outpost: all its services in a process, Redis, RabbitMQ, and Postgres for the log."""

    def env(port: int, at: Mapping[str, str]) -> dict[str, str]:
        redis = urlsplit(at["redis"])
        return {
            "API_PORT": str(port), "API_KEY": "bench", "API_JWT_SECRET": "bench" * 8, "GIN_MODE": "release",
            "AES_ENCRYPTION_SECRET": "bench" * 6 + "ab", "TOPICS": "order.made", "POSTGRES_URL": at["postgres"],
            "REDIS_HOST": redis.hostname or "", "REDIS_PORT": str(redis.port), "RABBITMQ_SERVER_URL": at["rabbitmq"],
            "DISABLE_TELEMETRY": "true", "LOG_LEVEL": "error", "MAX_DESTINATIONS_PER_TENANT": "1000",
            # Each is 1 by default, which leaves the machine idle.
            "PUBLISH_MAX_CONCURRENCY": "64", "DELIVERY_MAX_CONCURRENCY": "64", "LOG_MAX_CONCURRENCY": "64",
        }  # fmt: skip

    return Peer(
        name="outpost",
        binary=binary,
        servers=("postgres", "redis", "rabbitmq"),
        env=env,
        before=(("migrate", "apply", "--yes"),),
        serve=("serve",),
        ready="/healthz",
        token=_outpost_token,
        begin=lambda tenant: ("PUT", f"/api/v1/tenants/{tenant}", {}),
        endpoint=lambda tenant, url: (
            "POST", f"/api/v1/tenants/{tenant}/destinations",
            {"type": "webhook", "topics": ["order.made"], "config": {"url": url}},
        ),
        publish=lambda tenant, data, number: (
            "/api/v1/publish",
            {"id": f"{RUN}-{number}", "tenant_id": tenant, "topic": "order.made", "data": data},
        ),
    )  # fmt: skip


#: By the variable that names the binary.
PEERS = {"BENCH_SVIX": svix, "BENCH_OUTPOST": outpost}


def listening(port: int) -> list[psutil.Process]:
    """The process that listens on a port, and its children."""
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
            process = psutil.Process(one.pid)
            return [process, *process.children(recursive=True)]
    raise RuntimeError(f"nothing listens on 127.0.0.1:{port}")


def cpu_s(roots: Mapping[str, int]) -> Counter[str]:
    """CPU time since their start of what listens on each port, and of children that have ended."""
    spent = Counter[str]()
    for name, port in roots.items():
        for process in listening(port):
            with_ended = process.cpu_times()[:4]
            spent[name] += sum(with_ended)
    return spent


async def _call(session: aiohttp.ClientSession, verb: str, path: str, body: object) -> None:
    async with session.request(verb, path, json=body) as answer:
        if answer.status >= 300:
            raise RuntimeError(f"{verb} {path}: {answer.status} {(await answer.text())[:300]}")


async def _until_ready(session: aiohttp.ClientSession, path: str, process: asyncio.subprocess.Process) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.returncode is None:
        try:
            async with session.get(path) as answer:
                if answer.status < 300:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.2)
    raise RuntimeError("it does not become ready")


async def _publish(peer: Peer, session: aiohttp.ClientSession, events: int) -> None:
    numbers = iter(range(events))

    async def some() -> None:
        for number in numbers:
            data = {"number": number, "sent_us": int(time.time() * 1e6), "body": system.BODY}
            path, body = peer.publish(f"{RUN}-{number % TENANTS}", data, number)
            await _call(session, "POST", path, body)

    await asyncio.gather(*(some() for _ in range(PUBLISHERS)))


async def _through(peer: Peer, at: Mapping[str, str], events: int, fan: int) -> tuple[Figures, Counter[int]]:
    """The figures, and how often each event has come."""
    port = up.free_port()
    env = peer.env(port, at)
    for arguments in peer.before:
        await _printed([peer.binary, *arguments], env)
    token = await peer.token(peer.binary, env)
    path = os.pathsep.join((str(Path(peer.binary).parent), os.environ.get("PATH", "")))
    process = await asyncio.create_subprocess_exec(
        peer.binary, *peer.serve, env={**os.environ, **env, "PATH": path}, stdout=asyncio.subprocess.DEVNULL
    )
    headers = {"authorization": f"Bearer {token}"}
    try:
        with receiving(1) as receiver:
            # The receiver knows an event by its bytes, and some send the data on as they got it.
            compact = {"json_serialize": lambda body: orjson.dumps(body).decode()}
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers, **compact) as session:
                await _until_ready(session, peer.ready, process)
                for number in range(TENANTS):
                    await _call(session, *peer.begin(f"{RUN}-{number}"))
                    for place in range(fan):
                        url = f"http://127.0.0.1:{receiver.ports[0]}/t{number}/e{place}"
                        await _call(session, *peer.endpoint(f"{RUN}-{number}", url))
                roots = {peer.name: port, **{name: urlsplit(at[name]).port or 0 for name in peer.servers}}
                before, began, come = cpu_s(roots), time.monotonic(), Counter[int]()
                publishing = asyncio.create_task(_publish(peer, session, events))
                until = began + offering.TIMEOUT_S
                while come.total() < events * fan and time.monotonic() < until:
                    await asyncio.sleep(0.1)
                    come.update(one.number for one in await receiver.arrivals(come.total()))
                    if publishing.done():
                        publishing.result()
                took_s = time.monotonic() - began
                await publishing
                await asyncio.sleep(AFTER_S)
                spent = cpu_s(roots) - before
                come.update(one.number for one in await receiver.arrivals(come.total()))
                rss = Counter(
                    {
                        name: sum(one.memory_info().rss for one in listening(root)) / 1_048_576
                        for name, root in roots.items()
                    }
                )
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    return Figures(spent, rss, took_s, events * fan, system.load_average()), come


async def measure(peer: Peer, events: int = EVENTS, fan: int = FAN) -> bool:
    """Print the figures of a peer; whether they are verified."""
    at = {name: os.environ.get(SERVERS[name], "") for name in peer.servers}
    if missing := [SERVERS[name] for name, url in at.items() if not url]:
        print(f"{peer.name}: not run; {', '.join(missing)} is not set")
        return False
    figures, come = await _through(peer, at, events, fan)
    whole = sum(come[number] == fan for number in range(events))
    print(f"{peer.name}; {events} events of {TENANTS} tenants, each to {fan} endpoints, published over HTTP")
    figures.show()
    print(f"  verified: {whole} of {events} have come to each of their endpoints once")
    return whole == events


async def run() -> bool:
    """Print the figures of each peer whose binary is given; True where they are verified."""
    given = [make(os.environ[name]) for name, make in PEERS.items() if os.environ.get(name)]
    if not given:
        print(f"peers: none given; set {' or '.join(PEERS)}")
    return all([await measure(peer) for peer in given])
