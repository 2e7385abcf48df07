"""A run: load, faults, and what was observed. Talks to 127.0.0.1 only, and ends what it started by pid."""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from plain import Client, Receiver

from compose.kafka import LocalKafka
from tests.chaos import plan, reading
from tests.chaos.observed import Observed
from tests.chaos.plan import Fault
from tests.chaos.processes import Processes
from tests.chaos.receiving import Absentee, Answering

#: The load's own producer outlives every outage; Kafka drops what it sends twice.
PATIENT_MS = 300_000
#: A flood fills the buffers of whoever has to write it on.
FLOOD_EVENTS = 400
FLOOD_BYTES = 20_000
STROKE_S = (0.1, 0.9)
#: Nothing has come for so long at the end: longer than a session and any wait of the schedule; and longer than a wait
#: or a deferral alone, where every first endpoint has all its ends, for then no partition is without a holder.
QUIET_S = 10.0
SHORT_QUIET_S = 7.5
#: Lines get nothing more for so long before the end: they take the longest.
LINES_REST_S = 8.0
BEGIN_S = 90.0


class Run:
    """`broker` None: faults of Kafka's cannot be made."""

    def __init__(
        self,
        processes: Processes,
        client: Client,
        broker: LocalKafka | None,
        absentee: Absentee,
        observed: Observed,
        say: Callable[[str], None],
    ) -> None:
        self.done: Counter[str] = Counter()
        self._say = say
        self._processes = processes
        self._client = client
        self._broker = broker
        self._absentee = absentee
        self._observed = observed
        self._absences: list[asyncio.Task[None]] = []

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
            case "away":
                self._absences.append(asyncio.create_task(self._be_away(fault.for_s)))
        self.done[
            f"{fault.kind} {fault.service}".strip() + (f" {fault.for_s:g} s" if "stop" in fault.kind else "")
        ] += 1
        ended = self._processes.revive()
        self.done["ended by itself"] += len(ended)
        for line in ended:
            self._say(line)

    async def _be_away(self, for_s: float) -> None:
        since_ms = int(time.time() * 1000)
        await self._absentee.go()
        await asyncio.sleep(for_s)
        await self._absentee.come()
        self._observed.receiver_away_ms.append((since_ms, int(time.time() * 1000)))

    async def presence(self) -> float:
        """Wait until no receiver is away. Returns when each has been asked again, in monotonic seconds."""
        await asyncio.gather(*self._absences)
        longest_ms = max((end - since for since, end in self._observed.receiver_away_ms), default=0)
        ended_ms = max((end for _, end in self._observed.receiver_away_ms), default=0)
        return time.monotonic() + ended_ms / 1_000 - time.time() + longest_ms / 1_000 + QUIET_S

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
        end = time.monotonic() + for_s
        while time.monotonic() < end:
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
                send_event(
                    self._client,
                    self._observed,
                    plan.TENANTS[n % len(plan.TENANTS)],
                    f"flood{number + n}",
                    {"line": f"l{n // len(plan.TENANTS) % plan.LINES}", "fill": "x" * FLOOD_BYTES},
                )
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
    settle: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Observed, Counter[str]]:
    """Load for `length_s` under the schedule's faults, then wait for every end. What was seen, and faults by kind.

    `delay_s`: how long the receivers think, so that something is always under way. `settle` False: do not wait for
    the ends; what has none by then counts as lost.
    """
    prefix = f"chaos-{os.getpid()}-{seed}-{time.monotonic_ns() % 10**6}."
    processes = Processes(kafka, prefix, folder, instances, mutant)
    observed = Observed()
    answering = Answering(observed)
    absentee = Absentee(answering, delay_s)
    await asyncio.to_thread(processes.start_all)
    await absentee.come()
    try:
        async with Receiver() as receiver, Client(kafka, prefix, PATIENT_MS) as client:
            receiver.answers["/in"] = answering
            receiver.delay_s = delay_s
            await client.follow("results")
            running = Run(processes, client, broker, absentee, observed, say)
            urls = dict.fromkeys(plan.TENANTS, receiver.url + "/in")
            urls |= dict.fromkeys(plan.AWAY_TENANTS, absentee.url)
            await _begin(client, urls, observed)
            began = time.monotonic()
            lines_end = began + length_s - (LINES_REST_S if settle else 0.0)
            loading = asyncio.create_task(_load(client, urls, observed, seed, began + length_s, lines_end))
            for fault in schedule:
                await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
                say(f"{fault.at_s:6.1f} s  {fault.kind:10} {fault.service} {fault.index} {fault.for_s:g} s")
                await running.suffer(fault)
            await loading
            if settle:
                await _settle(client, observed, await running.presence())
        await reading.fill(kafka, prefix, observed)
    finally:
        await absentee.go()
        await asyncio.to_thread(processes.close)
    return observed, running.done


async def send_event(client: Client, observed: Observed, tenant: str, name: str, data: object) -> None:
    """Send one event and note that Kafka has it."""
    await client.event(tenant, data, id=name)
    observed.acknowledged.add(name)


async def _begin(client: Client, urls: dict[str, str], observed: Observed) -> None:
    """Register the first endpoints, and wait until every partition is worked on: it is then that faults count."""
    for tenant, url in urls.items():
        await client.register(tenant, "steady", url, **plan.shape_of(tenant).settings)
    await asyncio.sleep(0.05)
    began, round_number, waiting = time.monotonic(), 0, list(urls)
    while waiting:  # again and again: a mutant may have judged the first of them without the registration
        assert time.monotonic() - began < BEGIN_S, f"no result for {waiting}"
        for tenant in waiting:
            await send_event(client, observed, tenant, f"first-{round_number}-{tenant}", {"line": "l0"})
        await asyncio.sleep(2.0)
        served = {json.loads(record.value)["tenant"] for record in client.records["results"]}
        round_number, waiting = round_number + 1, [tenant for tenant in urls if tenant not in served]


async def _load(
    client: Client, urls: dict[str, str], observed: Observed, seed: int, end: float, lines_end: float
) -> None:
    """Events at some 100/s, and second endpoints that come and go between them, each time at another URL.

    `end`, and `lines_end` for tenants with lines: monotonic seconds.
    """
    draw = random.Random(seed)
    tenants = list(urls)
    on = dict.fromkeys(plan.TENANTS, False)
    number = registrations = 0
    while (now := time.monotonic()) < end:
        tenant = draw.choice(tenants)
        if now > lines_end and plan.shape_of(tenant).has_lines:
            continue
        if tenant in on and draw.random() < 0.15:
            on[tenant] = not on[tenant]
            if on[tenant]:
                registrations += 1
                url = f"{urls[tenant]}?number={registrations}"
                await client.register(tenant, "toggled", url, **plan.shape_of(tenant).settings)
            else:
                await client.change(tenant, "endpoint.unregistered", "toggled")
        data = {"line": f"l{draw.randrange(plan.LINES)}", "n": number}
        await send_event(client, observed, tenant, f"e{number}", data)
        number += 1
        await asyncio.sleep(0.005)


async def _settle(client: Client, observed: Observed, not_before: float, timeout_s: float = 120.0) -> None:
    """Wait until nothing has come for a while. `not_before`: monotonic seconds."""
    end = max(time.monotonic(), not_before) + timeout_s
    ends, count, since = set[str](), 0, time.monotonic()
    while (now := time.monotonic()) < end:
        records = client.records["results"]
        if len(records) != count:
            told = [json.loads(record.value) for record in records[count:]]
            count, since = count + len(told), now
            ends |= {one["event_id"] for one in told if one["verdict"] != "retrying" and one["endpoint_id"] == "steady"}
        quiet_s = SHORT_QUIET_S if ends >= observed.acknowledged else QUIET_S
        if now >= not_before and now - since > quiet_s:
            return
        await asyncio.sleep(0.25)
