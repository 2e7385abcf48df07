"""A run: load, faults, and what was observed. Talks to 127.0.0.1 only, and ends what it started by pid."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from plain import Client, Post, Receiver
from standardwebhooks.webhooks import WebhookVerificationError

from compose.kafka import LocalKafka
from tests.chaos import plan, reading
from tests.chaos.checker import Observed, Posted
from tests.chaos.plan import Fault
from tests.chaos.processes import Processes

TENANTS = 24
#: The load's own producer outlives every outage; Kafka drops what it sends twice.
PATIENT_MS = 300_000
#: A flood fills the buffers of whoever has to write it on.
FLOOD_EVENTS = 400
FLOOD_BYTES = 20_000
STROKE_S = (0.1, 0.9)
QUIET_S = 10.0


class Run:
    """`broker` None: faults of Kafka's cannot be made."""

    def __init__(
        self,
        processes: Processes,
        client: Client,
        broker: LocalKafka | None,
        observed: Observed,
        say: Callable[[str], None],
    ) -> None:
        self.done: Counter[str] = Counter()
        self._say = say
        self._processes = processes
        self._client = client
        self._broker = broker
        self._observed = observed

    async def suffer(self, fault: Fault) -> None:
        """One fault; afterwards everything runs as before."""
        match fault.kind:
            case "zombie":
                await self._processes.sleep(fault.service, fault.index, fault.for_s)
            case "kill":
                await asyncio.to_thread(self._processes.kill, fault.service, fault.index)
                self._processes.start(fault.service, fault.index)
            case "term":
                await asyncio.to_thread(self._processes.stop, fault.service, fault.index)
                self._processes.start(fault.service, fault.index)
            case "scale":
                self._processes.start(fault.service, 2)
                await asyncio.sleep(fault.for_s)
                await asyncio.to_thread(self._processes.stop, fault.service, 2)
            case "kafka-stop" | "kafka-kill":
                await self._absence(fault)
            case "slow-disk":
                await self._stutter(fault.for_s)
            case "flood":
                await self._flood(fault.for_s)
        self.done[
            f"{fault.kind} {fault.service}".strip() + (f" {fault.for_s:g} s" if "stop" in fault.kind else "")
        ] += 1
        ended = self._processes.revive()
        self.done["ended by itself"] += len(ended)
        for line in ended:
            self._say(line)

    async def _absence(self, fault: Fault) -> None:
        assert self._broker is not None, "this run has no Kafka of its own"
        since_ms = int(time.time() * 1000)
        if fault.kind == "kafka-kill":
            os.kill(self._broker.pid, signal.SIGKILL)
        await asyncio.to_thread(self._broker.stop)
        await asyncio.sleep(fault.for_s)
        await asyncio.to_thread(self._broker.start)
        self._observed.kafka_away_ms.append((since_ms, int(time.time() * 1000)))
        count, began = len(self._client.records["results"]), time.monotonic()
        while len(self._client.records["results"]) == count and time.monotonic() - began < 60:
            await asyncio.sleep(0.1)
        self._observed.resumed_s.append(time.monotonic() - began)

    async def _stutter(self, for_s: float) -> None:
        """Kafka stands still again and again, as one whose disk does."""
        assert self._broker is not None, "this run has no Kafka of its own"
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            os.kill(self._broker.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(random.uniform(*STROKE_S))
            finally:
                os.kill(self._broker.pid, signal.SIGCONT)
            await asyncio.sleep(random.uniform(*STROKE_S) / 3)

    async def _flood(self, for_s: float) -> None:
        """A heap of large events at once, and Kafka stands still while they should be written on."""
        assert self._broker is not None, "this run has no Kafka of its own"
        number = sum(1 for name in self._observed.acknowledged if name.startswith("flood"))
        sending = [
            asyncio.create_task(
                send_event(self._client, self._observed, f"t{n % TENANTS}", f"flood{number + n}", "x" * FLOOD_BYTES)
            )
            for n in range(FLOOD_EVENTS)
        ]
        await asyncio.sleep(0.5)
        os.kill(self._broker.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            os.kill(self._broker.pid, signal.SIGCONT)
        await asyncio.gather(*sending)


async def run(
    kafka: str,
    folder: Path,
    *,
    seed: int,
    length_s: float,
    schedule: Sequence[Fault],
    broker: LocalKafka | None = None,
    instances: int = 2,
    mutant: str | None = None,
    delay_s: float = 0.05,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Observed, Counter[str]]:
    """Load for `length_s` under the schedule's faults, then wait for every end. What was seen, and faults by kind.

    `delay_s`: how long the receiver thinks, so that something is always under way.
    """
    prefix = f"chaos-{os.getpid()}-{seed}-{time.monotonic_ns() % 10**6}."
    processes = Processes(kafka, prefix, folder, instances, mutant)
    observed = Observed()
    await asyncio.to_thread(processes.start_all)
    try:
        async with Receiver() as receiver, Client(kafka, prefix, PATIENT_MS) as client:
            receiver.answers["/in"] = lambda post: _answer(post, observed)
            receiver.delay_s = delay_s
            await client.follow("results")
            running = Run(processes, client, broker, observed, say)
            began = time.monotonic()
            loading = asyncio.create_task(_load(client, receiver.url + "/in", observed, seed, began + length_s))
            for fault in schedule:
                await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
                say(f"{fault.at_s:6.1f} s  {fault.kind:10} {fault.service} {fault.index} {fault.for_s:g} s")
                await running.suffer(fault)
            await loading
            await _settle(client)
        await reading.fill(kafka, prefix, observed)
    finally:
        await asyncio.to_thread(processes.close)
    return observed, running.done


def _answer(post: Post, observed: Observed) -> int:
    webhook_id, attempt = post.headers["webhook-id"], int(post.headers["webhook-attempt"])
    try:
        post.verify()
    except WebhookVerificationError:
        observed.bad_signatures += 1
    observed.posts.append(Posted(webhook_id, attempt, int(post.query.get("number", 0))))
    return plan.answer(webhook_id, attempt)


async def send_event(client: Client, observed: Observed, tenant: str, name: str, data: object) -> None:
    """Send one event and note that Kafka has it."""
    await client.event(tenant, data, id=name)
    observed.acknowledged.add(name)


async def _load(client: Client, url: str, observed: Observed, seed: int, until: float) -> None:
    """Events at some 100/s, and second endpoints that come and go between them, each time at another URL."""
    draw = random.Random(seed)
    tenants = [f"t{number}" for number in range(TENANTS)]
    on = dict.fromkeys(tenants, False)
    for tenant in tenants:
        await client.register(tenant, "steady", url)
    await asyncio.sleep(0.05)
    number = registrations = 0
    while time.monotonic() < until:
        tenant = draw.choice(tenants)
        if draw.random() < 0.15:
            on[tenant] = not on[tenant]
            if on[tenant]:
                registrations += 1
                await client.register(tenant, "toggled", f"{url}?number={registrations}")
            else:
                await client.change(tenant, "endpoint.unregistered", "toggled")
        await send_event(client, observed, tenant, f"e{number}", number)
        number += 1
        await asyncio.sleep(0.005)


async def _settle(client: Client, timeout_s: float = 120.0) -> None:
    """Wait until nothing has come for a while: longer than the longest wait of the schedule and a session."""
    until = time.monotonic() + timeout_s
    count, since = -1, time.monotonic()
    while time.monotonic() < until and time.monotonic() - since < QUIET_S:
        if len(client.records["results"]) != count:
            count, since = len(client.records["results"]), time.monotonic()
        await asyncio.sleep(0.5)
