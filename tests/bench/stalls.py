"""`make stalls`: the longest wait an event sees from Kafka to its POST while processes come, go and crash."""

import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from plain import Client, Receiver
from stack import free_port

from compose.kafka import LocalKafka
from streams.core.partitioning import partition_of
from tests.chaos.processes import Processes

TENANTS = 40
PARTITIONS = 4
INTERVAL_S = 0.01
SETTLE_S = 8.0


@dataclass
class Wait:
    """One event: which partition of each kind it went through, when it was sent, and how long until its POST."""

    tenant: str
    sent_at_s: float
    wait_ms: float = -1.0

    @property
    def partition(self) -> dict[str, int]:
        """Of `events` and of `deliveries`."""
        return {
            "router": partition_of(self.tenant.encode(), PARTITIONS),
            "egress": partition_of(f"{self.tenant}/ep".encode(), PARTITIONS),
        }


def owned(folder: Path, name: str, index: int) -> set[int]:
    """The partitions that a process said it has, last."""
    log = folder / f"{name}-{index}.log"
    found = re.findall(r"group\.assigned .*?partitions=\[([\d, ]*)\]", log.read_text() if log.exists() else "")
    return {int(number) for number in found[-1].split(",") if number.strip()} if found else set()


async def measure(kafka: str, folder: Path) -> None:
    """Print a line for each disturbance."""
    prefix = f"stalls-{time.monotonic_ns() % 10**6}."
    processes = Processes(kafka, prefix, folder, 2)
    await asyncio.to_thread(processes.start_all)
    waits: dict[str, Wait] = {}
    try:
        async with Receiver() as receiver, Client(kafka, prefix) as client:
            for number in range(TENANTS):
                await client.register(f"t{number}", "ep", receiver.url + "/in")
            sending = asyncio.create_task(_send(client, waits))
            await asyncio.sleep(SETTLE_S)
            print(await _row("nothing", "router", asyncio.sleep, set(), folder, receiver, waits), flush=True)
            for service in ("router", "egress"):
                for name, disturb, disturbed in _disturbances(processes, service):
                    print(await _row(name, service, disturb, disturbed, folder, receiver, waits), flush=True)
            sending.cancel()
    finally:
        await asyncio.to_thread(processes.close)


def _disturbances(
    processes: Processes, service: str
) -> list[tuple[str, Callable[[float], Awaitable[object]], set[int]]]:
    """What happens, and to which instances of a service."""

    async def restart(_: float) -> None:
        for index in (0, 1):
            await asyncio.to_thread(processes.stop, service, index)
            processes.start(service, index)
            await asyncio.sleep(SETTLE_S)

    async def join(_: float) -> None:
        processes.start(service, 2)
        await asyncio.sleep(SETTLE_S)

    async def leave(_: float) -> None:
        await asyncio.to_thread(processes.stop, service, 2)
        await asyncio.sleep(SETTLE_S)

    async def crash(_: float) -> None:
        processes.kill(service, 1)
        processes.start(service, 1)
        await asyncio.sleep(SETTLE_S)

    async def loss(_: float) -> None:
        processes.kill(service, 1)
        await asyncio.sleep(SETTLE_S * 2)

    async def back(_: float) -> None:
        processes.start(service, 1)
        await asyncio.sleep(SETTLE_S)

    return [
        ("rolling restart of two", restart, {0, 1}),
        ("a third one joins", join, {2}),
        ("it leaves", leave, {2}),
        ("kill -9, started again", crash, {1}),
        ("kill -9, gone for good", loss, {1}),
        ("a new one joins", back, {1}),
    ]


async def _row(
    name: str,
    service: str,
    disturb: Callable[[float], Awaitable[object]],
    disturbed: set[int],
    folder: Path,
    receiver: Receiver,
    waits: dict[str, Wait],
) -> str:
    before = {index: owned(folder, service, index) for index in {0, 1} - disturbed}
    began = time.time()
    await disturb(SETTLE_S)
    ended = time.time()
    await asyncio.sleep(1.0)
    stayed = {number for index, mine in before.items() for number in mine & owned(folder, service, index)}
    for post in receiver.posts:
        found = waits.get(str(json.loads(post.body)["data"]))
        if found is not None and found.wait_ms < 0:
            found.wait_ms = (post.at_s - found.sent_at_s) * 1000
    mine = [wait for wait in waits.values() if began <= wait.sent_at_s < ended]
    longest = max(wait.wait_ms for wait in mine)
    undisturbed = [wait.wait_ms for wait in mine if wait.partition[service] in stayed]
    unmoved = f"{max(undisturbed):.0f} ms" if undisturbed else "-"
    missing = sum(wait.wait_ms < 0 for wait in mine)
    middle = sorted(wait.wait_ms for wait in mine)[len(mine) // 2]
    return (
        f"{service:7} {name:24} events {len(mine):5}  p50 {middle:5.0f} ms  longest {longest:6.0f} ms  "
        f"where nothing moved {unmoved:>7} ({len(stayed)} of {PARTITIONS} partitions)  missing {missing}"
    )


async def _send(client: Client, waits: dict[str, Wait]) -> None:
    number = 0
    while True:
        tenant = f"t{number % TENANTS}"
        waits[str(number)] = Wait(tenant, time.time())
        await client.event(tenant, number)
        number += 1
        await asyncio.sleep(INTERVAL_S)


def main() -> int:
    with tempfile.TemporaryDirectory() as name, LocalKafka(Path(name) / "kafka", free_port()) as broker:
        asyncio.run(measure(broker.bootstrap, Path(name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
