"""A whole Hookfold on this machine for one measurement: its processes, what they cost, and what came of the events."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from compose import children, up
from compose.kafka import LocalKafka
from compose.supervisor import Supervisor
from schemas.settings import Settings
from streams import provisioning

PREFIX = "bench."
SECRET = "whsec_" + "QUJD" * 11
BODY = "x" * 400
#: A receiver's answer to a question may hold all that it has noted.
MAX_LINE = 256 * 1_048_576


@dataclass(frozen=True)
class System:
    """Where it is. `pids`: the broker's and each service's."""

    kafka: str
    pids: Mapping[str, int]
    ports: Mapping[str, int]

    def cpu_s(self) -> Counter[str]:
        """CPU time since its start, by process."""
        return Counter({name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in self.pids.items()})

    def rss_mb(self, name: str) -> float:
        """Resident memory of a process, MiB."""
        return float(psutil.Process(self.pids[name]).memory_info().rss) / 1_048_576

    async def metrics(self, name: str) -> dict[str, float]:
        """What a service counts, by the name and labels that Prometheus sees."""
        text = await asyncio.to_thread(_get, f"http://127.0.0.1:{self.ports[name]}/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
        return {key: float(value) for key, _, value in lines}


def _get(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@contextlib.asynccontextmanager
async def running(more: Mapping[str, str] | None = None) -> AsyncIterator[System]:
    """Kafka, router, egress and delayer with default settings, or with `more`; all have ended when it is left."""
    with tempfile.TemporaryDirectory() as name, LocalKafka(Path(name) / "kafka", up.free_port()) as broker:
        await provisioning.provision(Settings(kafka=broker.bootstrap, prefix=PREFIX))
        ports = {service: up.free_port() for service in up.PIPELINE}
        own = {
            "HOOKFOLD_PREFIX": PREFIX, "HOOKFOLD_ALLOW_HTTP": "1", "HOOKFOLD_ALLOW_NETWORKS": "127.0.0.0/8",
            "HOOKFOLD_DATA_DIR": name, **{f"HOOKFOLD_{n.upper()}_PORT": str(p) for n, p in ports.items()},
        }  # fmt: skip
        supervisor = Supervisor(
            up.PIPELINE, up.stack_env(broker.bootstrap, own | dict(more or {})), up.say, log_dir=Path(name)
        )
        supervisor.start()
        try:
            if not await up.wait_ready(ports, asyncio.Event()):
                raise RuntimeError("not ready: " + (Path(name) / "egress.log").read_text()[-2_000:])
            pids = {service: supervisor.pid(service) for service in up.PIPELINE} | {"broker": broker.pid}
            yield System(broker.bootstrap, pids, ports)
        finally:
            supervisor.stop()


@dataclass(frozen=True)
class Receiver:
    """`tests.bench.receiver` in its process: `ports` that take webhooks, and one for orders."""

    control: int
    ports: list[int]

    async def order(self, manners: Mapping[str, Sequence[int]]) -> None:
        """Set who hangs (`hang`) and who drips (`drip`), by place in `ports`; all others are well."""
        await self._ask(manners)

    async def arrivals(self, since: int = 0) -> list[tuple[int, float, float]]:
        """What was answered, but for the first so many: the event's number, when it was sent and came, s since 1970."""
        return [(number, sent, came) for number, sent, came in await self._ask(since)]

    async def _ask(self, order: Mapping[str, Sequence[int]] | int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.control, limit=MAX_LINE)
        writer.write(json.dumps(order).encode() + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
        return answer


@contextlib.contextmanager
def receiving(count: int) -> Iterator[Receiver]:
    """A receiver with so many ports."""
    command = [sys.executable, "-m", "tests.bench.receiver", str(count)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        control, *ports = json.loads(child.stdout.readline())
        yield Receiver(control, ports)
    finally:
        children.stop(child, 5)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def producing(system: System) -> AsyncIterator[AIOKafkaProducer]:
    """A producer."""
    async with AIOKafkaProducer(bootstrap_servers=system.kafka, acks="all", linger_ms=2) as producer:
        yield producer


async def register(producer: AIOKafkaProducer, tenant: str, endpoint_id: str, url: str, pattern: str) -> None:
    """Register an endpoint without a handshake."""
    change = {
        "type": "endpoint.registered", "endpoint_id": endpoint_id, "url": url, "verification": "none",
        "subscriptions": [{"event_types": [pattern]}], "secrets": [SECRET],
    }  # fmt: skip
    await producer.send(PREFIX + "subscriptions", json.dumps(change).encode(), key=tenant.encode())


def event(event_type: str, number: int, sent_s: float) -> bytes:
    """An event as a receiver of ours reads it: with its number, and the time at which it was sent."""
    sent_us = int(sent_s * 1e6)
    return (
        f'{{"type":"{event_type}","id":"{number}","data":{{"number":{number},"sent_us":{sent_us},"body":"{BODY}"}}}}'
    ).encode()


@dataclass
class Tally:
    """Results by event number. `waits`: when the next attempt is due (ms) of those that have failed so far."""

    delivered: Counter[int] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    waits: dict[int, int] = field(default_factory=dict)
    failed: int = 0

    def note(self, result: dict[str, Any]) -> None:
        """Count a result."""
        number = int(result["event_id"])
        match result["verdict"]:
            case "delivered":
                self.delivered[number] += 1
                self.waits.pop(number, None)
            case "retrying":
                self.failed += 1
                self.waits[number] = result["next_attempt_at_ms"]
            case verdict:
                self.other[verdict] += 1


@contextlib.asynccontextmanager
async def tallying(system: System) -> AsyncIterator[Tally]:
    """What came of the events, as far as it is in `results`."""
    tally = Tally()
    consumer = AIOKafkaConsumer(
        PREFIX + "results", bootstrap_servers=system.kafka, isolation_level="read_committed",
        auto_offset_reset="earliest", group_id=None,
    )  # fmt: skip
    await consumer.start()

    async def follow() -> None:
        async for record in consumer:
            tally.note(json.loads(record.value))

    task = asyncio.create_task(follow())
    try:
        yield tally
    finally:
        task.cancel()
        await asyncio.wait([task])
        await consumer.stop()


def costs(spent: Mapping[str, float], per: float) -> str:
    """CPU time by process, divided by `per`."""
    return " + ".join(f"{name} {value / per:.3f}" for name, value in spent.items())


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them lies; nan where there are none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def load_average() -> str:
    """Of the last minute: what else the machine had to do."""
    return f"{os.getloadavg()[0]:.1f}"
