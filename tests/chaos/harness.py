"""A run: processes, load, faults, and what was observed. Talks to 127.0.0.1 only, and ends what it started by pid."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plain import Client, Post, Receiver
from stack import free_port
from standardwebhooks.webhooks import WebhookVerificationError

from tests.chaos import plan
from tests.chaos.checker import Observed, Sent
from tests.chaos.plan import SERVICES, Fault

TENANTS = 24
SESSION_MS = 6_000
MOST_INSTANCES = 3


class Processes:
    """`instances` of each service. `mutant`: a module that is run instead of the command line, to spoil it."""

    def __init__(self, kafka: str, prefix: str, folder: Path, instances: int, mutant: str | None = None) -> None:
        self._folder = folder
        self._mutant = mutant
        self._ports = {(name, index): free_port() for name in SERVICES for index in range(MOST_INSTANCES)}
        self._instances = instances
        self._running: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HOOKFOLD_")},
            "HOOKFOLD_KAFKA": kafka,
            "HOOKFOLD_PREFIX": prefix,
            "HOOKFOLD_PARTITIONS": "4",
            "HOOKFOLD_ALLOW_HTTP": "1",
            "HOOKFOLD_ALLOW_NETWORKS": "127.0.0.0/8",
            "HOOKFOLD_RETRY_JITTER": "0",
            "HOOKFOLD_RETRY_SCHEDULE": ",".join(plan.SCHEDULE),
            "HOOKFOLD_SESSION_TIMEOUT_MS": str(SESSION_MS),
        }

    def start_all(self) -> None:
        """Topics, then every process."""
        subprocess.run([sys.executable, "-m", "compose.cli", "topics"], env=self._env, check=True, capture_output=True)
        for name in SERVICES:
            for index in range(self._instances):
                self.start(name, index)

    def start(self, name: str, index: int) -> None:
        """One process; it keeps its name and its port for the run."""
        env = {
            **self._env,
            "HOOKFOLD_INSTANCE": str(index),
            f"HOOKFOLD_{name.upper()}_PORT": str(self._ports[name, index]),
            "HOOKFOLD_DATA_DIR": str(self._folder / f"{name}-{index}"),
        }
        module = [self._mutant] if self._mutant else []
        command = [sys.executable, "-m", *(["tests.chaos.mutants", *module] if module else ["compose.cli"]), name]
        with (self._folder / f"{name}-{index}.log").open("ab") as log:
            self._running[name, index] = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str, index: int) -> None:
        """kill -9."""
        process = self._running.pop((name, index))
        process.kill()
        process.wait()

    def stop(self, name: str, index: int) -> int:
        """SIGTERM; the exit status."""
        process = self._running.pop((name, index))
        process.terminate()
        return process.wait(20)

    async def suffer(self, fault: Fault) -> None:
        """One fault; afterwards the process runs again."""
        process = self._running[fault.service, fault.index]
        match fault.kind:
            case "zombie":
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(fault.sleep_s)
                process.send_signal(signal.SIGCONT)
            case "kill":
                process.kill()
                await asyncio.to_thread(process.wait)
                self.start(fault.service, fault.index)
            case "term":
                process.terminate()
                await asyncio.to_thread(process.wait, 20)
                self.start(fault.service, fault.index)

    def revive(self) -> int:
        """Start again what ended by itself; how many did."""
        ended = [key for key, process in self._running.items() if process.poll() is not None]
        for name, index in ended:
            self.start(name, index)
        return len(ended)

    def close(self) -> None:
        """End all of them."""
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def run(
    kafka: str,
    folder: Path,
    *,
    seed: int,
    length_s: float,
    schedule: Sequence[Fault],
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
    observed, done = Observed(), Counter[str]()
    await asyncio.to_thread(processes.start_all)
    try:
        async with Receiver() as receiver, Client(kafka, prefix) as client:
            receiver.answers["/in"] = lambda post: _answer(post, observed)
            receiver.delay_s = delay_s
            await client.follow("results", "rejected")
            loading = asyncio.create_task(_load(client, receiver.url + "/in", observed, seed, length_s))
            began = time.monotonic()
            for fault in schedule:
                await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
                say(f"{fault.at_s:5.1f} s  {fault.kind:6} {fault.service}-{fault.index}")
                await processes.suffer(fault)
                done[f"{fault.kind} {fault.service}"] += 1
                done["ended by itself"] += processes.revive()
            await loading
            await _settle(client, observed)
    finally:
        await asyncio.to_thread(processes.close)
    return observed, done


def _answer(post: Post, observed: Observed) -> int:
    webhook_id, attempt = post.headers["webhook-id"], int(post.headers["webhook-attempt"])
    try:
        post.verify()
    except WebhookVerificationError:
        observed.bad_signatures += 1
    observed.posts.append((webhook_id, attempt))
    return plan.answer(webhook_id, attempt)


async def _load(client: Client, url: str, observed: Observed, seed: int, length_s: float) -> None:
    """Events at some 100/s, and second endpoints that come and go between them."""
    draw = random.Random(seed)
    tenants = [f"t{number}" for number in range(TENANTS)]
    on = dict.fromkeys(tenants, False)
    for tenant in tenants:
        await client.register(tenant, "steady", url)
    await asyncio.sleep(0.05)
    until = time.monotonic() + length_s
    number = 0
    while time.monotonic() < until:
        tenant = draw.choice(tenants)
        if draw.random() < 0.15:
            on[tenant] = not on[tenant]
            if on[tenant]:
                record = await client.register(tenant, "toggled", url)
            else:
                record = await client.change(tenant, "endpoint.unregistered", "toggled")
            observed.toggles.append(Sent(tenant, "on" if on[tenant] else "off", record.timestamp))
        name = f"e{number}"
        record = await client.event(tenant, number, id=name)
        observed.events.append(Sent(tenant, name, record.timestamp))
        number += 1
        await asyncio.sleep(0.005)


async def _settle(client: Client, observed: Observed, timeout_s: float = 90.0) -> None:
    """Wait until every event has its first endpoint's end and nothing has come for 8 s."""
    until = time.monotonic() + timeout_s
    count, since = -1, time.monotonic()
    while time.monotonic() < until:
        records: list[Any] = client.records["results"]
        if len(records) != count:
            count, since = len(records), time.monotonic()
        if time.monotonic() - since > 8:
            break
        await asyncio.sleep(0.5)
    observed.results = [json.loads(record.value) for record in client.records["results"]]
    observed.rejected = len(client.records["rejected"])
