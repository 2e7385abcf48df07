"""A whole Hookfold on this machine for one measurement: its processes, and what they cost."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import psutil
from aiokafka import AIOKafkaProducer

from compose import children, up
from compose.kafka import LocalKafka
from schemas.settings import Settings
from streams import provisioning

PREFIX = "bench."
SECRET = "whsec_" + "QUJD" * 11
BODY = "x" * 400
MAX_REQUEST = 4 * 1_048_576
STOP_S = 20.0


@dataclass
class Process:
    """One process of a service, and the port of its pages."""

    child: subprocess.Popen[bytes]
    port: int


@dataclass
class System:
    """The broker, and the services that have been started, each any number of times and as any number of workers."""

    kafka: str
    broker_pid: int
    folder: Path
    env: Mapping[str, str]
    processes: dict[str, list[Process]] = field(default_factory=dict)

    async def start(self, service: str, workers: int = 1) -> None:
        """Start a service once more, as so many processes; they need not be ready yet."""
        running = self.processes.setdefault(service, [])
        name, port = f"{service}-{len(running)}", up.free_port()
        own = {
            "HOOKFOLD_DATA_DIR": str(self.folder / name), f"HOOKFOLD_{service.upper()}_PORT": str(port),
            "HOOKFOLD_INSTANCE": name,
        }  # fmt: skip
        command = [sys.executable, "-m", "compose.cli", service]
        if workers > 1:
            command += ["--workers", str(workers)]
        with (self.folder / f"{name}.log").open("ab") as log:
            running.append(Process(children.start(command, env={**self.env, **own}, output=log), port))

    async def ready(self) -> None:
        """Wait until all say that they are. Raises RuntimeError with the end of their logs where one does not."""
        ports = {f"{name}-{at}": one.port for name, all_ in self.processes.items() for at, one in enumerate(all_)}
        if not await up.wait_ready(ports, asyncio.Event()):
            logs = (self.folder / f"{name}.log" for name in ports)
            raise RuntimeError("not ready: " + "\n".join(log.read_text()[-1_000:] for log in logs))

    async def is_ready(self, service: str) -> bool:
        """Whether all processes of a service say so just now."""
        return all([await asyncio.to_thread(up.is_ready, one.port) for one in self.processes[service]])

    async def stop(self, service: str, keep: bool = True) -> None:
        """Stop a service; without `keep` its data directories are deleted."""
        for number, process in enumerate(self.processes.pop(service, [])):
            await asyncio.to_thread(children.stop, process.child, STOP_S)
            if not keep:
                shutil.rmtree(self.folder / f"{service}-{number}", ignore_errors=True)

    def cpu_s(self) -> Counter[str]:
        """CPU time since their start, by service."""
        return Counter({name: sum(sum(one.cpu_times()[:2]) for one in of) for name, of in self._alive()})

    def rss_mb(self, name: str) -> float:
        """Resident memory of a service's processes, MiB."""
        return self.rss()[name]

    def rss(self) -> Counter[str]:
        """Resident memory by service, MiB."""
        return Counter({name: sum(one.memory_info().rss for one in of) / 1_048_576 for name, of in self._alive()})

    async def metrics(self, name: str) -> dict[str, float]:
        """What a service counts, by the name and labels that Prometheus sees; the sum over its processes."""
        found: dict[str, float] = {}
        for process in self.processes[name]:
            text = await asyncio.to_thread(_get, f"http://127.0.0.1:{process.port}/metrics")
            for line in text.splitlines():
                if line and line[0] != "#":
                    key, _, value = line.rpartition(" ")
                    found[key] = found.get(key, 0.0) + float(value)
        return found

    async def total(self, service: str, name: str) -> float:
        """A counter's sum over its labels and the service's processes."""
        return total(await self.metrics(service), name)

    def _alive(self) -> Iterator[tuple[str, list[psutil.Process]]]:
        for name, of in self.processes.items():
            roots = [psutil.Process(one.child.pid) for one in of]
            yield name, [*roots, *(child for root in roots for child in root.children(recursive=True))]
        yield "broker", [psutil.Process(self.broker_pid)]


def total(metrics: Mapping[str, float], name: str) -> float:
    """A counter's sum over its labels."""
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)


def _get(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@contextlib.asynccontextmanager
async def running(
    more: Mapping[str, str] | None = None,
    counts: Mapping[str, int] = dict.fromkeys(up.PIPELINE, 1),
    *,
    optimized: bool = False,
) -> AsyncIterator[System]:
    """Kafka and so many workers of each service, with default settings and `more`; all have ended when it is left.

    `optimized`: Kafka with Java's optimizing compiler, as others run it.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        LocalKafka(Path(name) / "kafka", up.free_port(), optimized=optimized) as broker,
    ):
        own = {
            "HOOKFOLD_PREFIX": PREFIX, "HOOKFOLD_ALLOW_HTTP": "1", "HOOKFOLD_ALLOW_NETWORKS": "127.0.0.0/8",
            **(more or {}),
        }  # fmt: skip
        partitions = int(own.get("HOOKFOLD_PARTITIONS", Settings().partitions))
        await provisioning.provision(Settings(kafka=broker.bootstrap, prefix=PREFIX, partitions=partitions))
        stack = System(broker.bootstrap, broker.pid, Path(name), up.stack_env(broker.bootstrap, own))
        try:
            for service, count in counts.items():
                if count:
                    await stack.start(service, count)
            await stack.ready()
            yield stack
        finally:
            for service in list(stack.processes):
                await stack.stop(service)


@contextlib.asynccontextmanager
async def producing(system: System, linger_ms: int = 2) -> AsyncIterator[AIOKafkaProducer]:
    """A producer."""
    async with AIOKafkaProducer(
        bootstrap_servers=system.kafka, acks="all", linger_ms=linger_ms, max_request_size=MAX_REQUEST
    ) as producer:
        yield producer


async def register(producer: AIOKafkaProducer, tenant: str, endpoint_id: str, url: str, pattern: str) -> None:
    """Register an endpoint without a handshake."""
    change = {
        "type": "endpoint.registered", "endpoint_id": endpoint_id, "url": url, "verification": "none",
        "subscriptions": [{"event_types": [pattern]}], "secrets": [SECRET],
    }  # fmt: skip
    await producer.send(PREFIX + "subscriptions", json.dumps(change).encode(), key=tenant.encode())


def event(event_type: str, number: int, sent_s: float, body: str = BODY) -> bytes:
    """An event as a receiver of ours reads it: with its number, and the time at which it was sent."""
    sent_us = int(sent_s * 1e6)
    return (
        f'{{"type":"{event_type}","id":"{number}","data":{{"number":{number},"sent_us":{sent_us},"body":"{body}"}}}}'
    ).encode()


def costs(spent: Mapping[str, float], per: float) -> str:
    """CPU time by process, divided by `per`."""
    return " + ".join(f"{name} {value / per:.3f}" for name, value in spent.items())


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them lies; nan where there are none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def load_average() -> str:
    """Of the last minute: what else the machine had to do."""
    return f"{os.getloadavg()[0]:.1f}"
