"""`hookfold demo`: the whole system on this machine for a short while, with a receiver, and an account of it all."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console

from compose import up
from compose.demo_view import DemoView
from compose.kafka import LocalKafka
from compose.receiver import Arrival, TrialReceiver
from compose.supervisor import Supervisor, one_each
from compose.tally import Tally
from schemas.settings import RouterSettings
from streams import provisioning

EVENTS_PER_S = 20
SETTLE_TIMEOUT_S = 60.0
RETRY_SCHEDULE = "2s,4s"

#: Tenant, endpoint, path at the receiver, event types.
ENDPOINTS = (
    ("acme", "orders", "ok", ("order.*",)),
    ("acme", "audit", "flaky/4", ("**",)),
    ("globex", "billing", "failing/12", ("invoice.paid", "invoice.voided")),
)
#: Tenant and event type, each with the endpoints that it is owed to: written down by hand, as the account's other side.
PLAN: tuple[tuple[str, str, int], ...] = (
    ("acme", "order.made", 2),
    ("acme", "user.joined", 1),
    ("globex", "invoice.paid", 1),
    ("globex", "order.made", 0),
    ("acme", "order.shipped", 2),
    ("globex", "invoice.voided", 1),
)


@dataclass
class Demo:
    """One run. `seconds`: for how long events are produced; 0 is until it is stopped."""

    settings: RouterSettings
    seconds: int
    broker: LocalKafka | None
    folder: Path

    async def run(self) -> int:
        """0 when the counts add up."""
        stop = asyncio.Event()
        up.stop_on_signals(stop)
        await provisioning.provision(self.settings)
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        ports = {name: up.free_port() for name in up.PIPELINE}
        console = Console(stderr=True)
        tally = Tally()
        arrivals: list[Arrival] = []
        endpoints = {f"{tenant}/{endpoint}": ", ".join(kinds) for tenant, endpoint, _, kinds in ENDPOINTS}
        view = DemoView(tally, endpoints, console)
        supervisor = Supervisor(
            one_each(up.PIPELINE), self._env(ports), view.say, log_dir=self.folder, broker=self.broker
        )
        async with (
            supervisor.running(stop),
            TrialReceiver([secret], arrivals.append) as receiver,
            self._reading(tally, view),
        ):
            if not await up.wait_ready(ports, stop):
                up.say(f"not ready; the logs are in {self.folder}")
                return 1
            up.say(f"running; Faust's stats: http://127.0.0.1:{ports['router']}/")
            view.start()
            try:
                await self._produce(receiver.url, secret, tally, view, stop)
                await self._settle(tally, view, stop)
            finally:
                view.stop()
            view.summary(arrivals, supervisor.restarts)
            if repeated := tally.repeated(arrivals):
                console.print(f"{repeated} POSTs were repeated, as happens when a process is killed")
            problems = tally.problems(arrivals)
        for problem in problems:
            console.print(f"does not hold: {problem}", style="red")
        if not problems:
            console.print("The counts add up.", style="green")
        return 1 if problems else 0

    def _env(self, ports: dict[str, int]) -> dict[str, str]:
        return up.stack_env(
            self.settings.kafka,
            {
                "HOOKFOLD_PREFIX": self.settings.prefix,
                "HOOKFOLD_PARTITIONS": str(self.settings.partitions),
                "HOOKFOLD_DATA_DIR": str(self.folder),
                "HOOKFOLD_ALLOW_HTTP": "1",
                "HOOKFOLD_ALLOW_NETWORKS": "127.0.0.0/8",
                "HOOKFOLD_RETRY_SCHEDULE": RETRY_SCHEDULE,
                **{f"HOOKFOLD_{name.upper()}_PORT": str(port) for name, port in ports.items()},
            },
        )

    async def _produce(self, url: str, secret: str, tally: Tally, view: DemoView, stop: asyncio.Event) -> None:
        """Register the endpoints, then produce events, both as any Kafka client would."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka, acks="all")
        await producer.start()
        try:
            for tenant, endpoint, path, kinds in ENDPOINTS:
                change = {
                    "type": "endpoint.registered",
                    "endpoint_id": endpoint,
                    "url": f"{url}/{path}",
                    "subscriptions": [{"event_types": kinds}],
                    "secrets": [secret],
                    "verification": "none",
                }
                await producer.send_and_wait(
                    self.settings.topic("subscriptions"), orjson.dumps(change), key=tenant.encode()
                )
            loop = asyncio.get_running_loop()
            until = loop.time() + self.seconds if self.seconds else float("inf")
            while loop.time() < until and not stop.is_set():
                tenant, kind, owed = PLAN[tally.events % len(PLAN)]
                event = {"type": kind, "id": f"demo-{tally.events}", "data": {"number": tally.events, "price": "1.10"}}
                await producer.send_and_wait(self.settings.topic("events"), orjson.dumps(event), key=tenant.encode())
                tally.events += 1
                tally.expected += owed
                view.refresh()
                await asyncio.sleep(1 / EVENTS_PER_S)
        finally:
            await producer.stop()

    async def _settle(self, tally: Tally, view: DemoView, stop: asyncio.Event) -> None:
        """Wait until every delivery has its end; then a little longer, for what should not come."""
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE_TIMEOUT_S
        while (tally.finished < tally.expected or tally.dead_letters < tally.verdicts["dead"]) and loop.time() < until:
            view.refresh()
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)

    @contextlib.asynccontextmanager
    async def _reading(self, tally: Tally, view: DemoView) -> AsyncIterator[None]:
        """Read results, dead letters and rejected records, as any Kafka client would."""
        names = {self.settings.topic(name): name for name in ("results", "dead-letters", "rejected")}
        consumer = AIOKafkaConsumer(
            *names,
            bootstrap_servers=self.settings.kafka,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            group_id=None,
        )
        await consumer.start()

        async def read() -> None:
            async for record in consumer:
                match names[record.topic]:
                    case "results":
                        result: dict[str, Any] = orjson.loads(record.value)
                        tally.add_result(result)
                        view.note(result)
                    case "dead-letters":
                        tally.dead_letters += 1
                    case _:
                        tally.rejected += 1
                        view.say(f"rejected: {dict(record.headers).get('rejected-reason', b'').decode()}")

        reading = asyncio.create_task(read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await consumer.stop()


def run(settings: RouterSettings) -> int:
    """The exit status. Topics of an own prefix keep the account clean; they are removed from a Kafka that stays."""
    seconds = int(os.environ.get("DEMO_SECONDS", "20"))
    # A broker takes a moment to lead topics that were just made, and aiokafka says so once a try.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="hookfold-demo-") as name:
        folder = Path(name)
        port = up.free_port()
        with up.broker_for(settings, folder / "kafka", port) as broker:
            kafka = settings.kafka if broker is None else broker.bootstrap
            own = settings.model_copy(update={"kafka": kafka, "prefix": f"demo-{secrets.token_hex(4)}."})
            try:
                return asyncio.run(Demo(own, seconds, broker, folder).run())
            finally:
                if broker is None:
                    asyncio.run(_remove_topics(own))


async def _remove_topics(settings: RouterSettings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(settings.prefix)])
    finally:
        await admin.close()
