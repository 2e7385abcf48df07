"""Kafka goes away and comes back: nothing is lost, nothing is doubled, nobody has to be started again by hand."""

import asyncio
import os
from collections import Counter
from pathlib import Path

from plain import Client, Receiver, tenant_name, until
from stack import SERVICES, Stack, free_port

from compose.kafka import LocalKafka

EVENTS = 600


async def test_deliveries_go_on_by_themselves_after_kafka_was_away(tmp_path: Path, receiver: Receiver) -> None:
    broker = LocalKafka(tmp_path / "kafka", free_port())
    await asyncio.to_thread(broker.start)
    stack = Stack(broker.bootstrap, f"o{os.getpid()}.", tmp_path)
    try:
        assert stack.command("topics").returncode == 0
        stack.start(*SERVICES)
        stack.wait_ready(*SERVICES)
        await _outage(broker, stack, receiver)
    finally:
        stack.close()
        await asyncio.to_thread(broker.stop)


async def test_sigterm_ends_each_process_although_kafka_is_away(tmp_path: Path, receiver: Receiver) -> None:
    broker = LocalKafka(tmp_path / "kafka", free_port())
    await asyncio.to_thread(broker.start)
    stack = Stack(broker.bootstrap, f"p{os.getpid()}.", tmp_path)
    try:
        assert stack.command("topics").returncode == 0
        stack.start(*SERVICES)
        stack.wait_ready(*SERVICES)
        await asyncio.to_thread(broker.stop)
        for name in SERVICES:
            assert await asyncio.to_thread(stack.stop, name) == 0, stack.log(name)[-2000:]
    finally:
        stack.close()
        await asyncio.to_thread(broker.stop)


async def _outage(broker: LocalKafka, stack: Stack, receiver: Receiver) -> None:
    tenant = tenant_name()
    pids = {name: stack.pid(name) for name in SERVICES}
    async with Client(stack.kafka, stack.prefix) as client:
        await client.register(tenant, "ep-1", receiver.url + "/in")
        for n in range(EVENTS):
            await client.event(tenant, n, id=f"e-{n}")
        # Away in the middle of it all, for longer than it takes to be told so.
        await asyncio.to_thread(broker.stop)
    await until(lambda: not any(stack.ready(name) for name in SERVICES), 40, "unready without Kafka")
    await asyncio.to_thread(broker.start)
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        await until(lambda: len({r["event_id"] for r in client.results(tenant)}) == EVENTS, 60, "every event's result")
        await client.event(tenant, "after", id="after")
        await until(lambda: any(r["event_id"] == "after" for r in client.results(tenant)), 30, "an event after it")
        await asyncio.sleep(2)
        results = client.results(tenant)
        assert max(Counter((r["delivery_id"], r["attempt"]) for r in results).values()) == 1
        assert {r["verdict"] for r in results} == {"delivered"}
        assert {r["attempt"] for r in results} == {1}
    await until(lambda: all(stack.ready(name) for name in SERVICES), 30, "ready again")
    assert {name: stack.pid(name) for name in SERVICES} == pids
    assert all(stack.alive(name) for name in SERVICES)
