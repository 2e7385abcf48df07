"""Kafka goes away and comes back: nothing is lost, nothing is doubled, nobody has to be started again by hand."""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from plain import Client, Receiver, tenant_name, until
from stack import SERVICES, Stack, free_port

from compose.kafka import LocalKafka

EVENTS = 600
AWAY_S = 95.0
RESUME_S = 15.0


@pytest.mark.timeout(300)
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
    receiver.answers["/flaky"] = lambda post: 500 if len(receiver.at("/flaky")) == 1 else 204
    async with Client(stack.kafka, stack.prefix) as client:
        await client.register(tenant, "ep-1", receiver.url + "/in")
        await client.register(
            tenant, "ep-2", receiver.url + "/flaky", retry={"schedule": ["20s"], "jitter": 0},
            subscriptions=[{"event_types": ["a.retry"]}],
        )  # fmt: skip
        await client.event(tenant, "waits", "a.retry", id="waits")
        await until(lambda: len(receiver.at("/flaky")) == 1, 20, "a first try that fails")
        for n in range(EVENTS):
            await client.event(tenant, n, id=f"e-{n}")
        # Away in the middle of it all, for much longer than a session and than every time limit of the client.
        await asyncio.to_thread(broker.stop)
    gone_at = time.monotonic()
    await until(lambda: not any(stack.ready(name) for name in SERVICES), 40, "unready without Kafka")
    await asyncio.sleep(gone_at + AWAY_S - time.monotonic())
    await asyncio.to_thread(broker.start)
    back_at = time.monotonic()
    async with Client(stack.kafka, stack.prefix) as client:
        await client.follow("results")
        await client.event(tenant, "after", id="after")
        names = {*(f"e-{n}" for n in range(EVENTS)), "waits", "after"}
        await until(lambda: {r["event_id"] for r in client.results(tenant)} == names, RESUME_S, "every event's result")
        await until(lambda: all(stack.ready(name) for name in SERVICES), RESUME_S, "ready again")
        assert time.monotonic() - back_at < RESUME_S
        await until(lambda: len(receiver.at("/flaky")) == 2, 30, "the retry that came due meanwhile")
        await asyncio.sleep(2)
        results = client.results(tenant)
        assert max(Counter((r["delivery_id"], r["attempt"]) for r in results).values()) == 1
        retried = [r for r in results if r["endpoint_id"] == "ep-2"]
        assert [(r["attempt"], r["verdict"]) for r in retried] == [(1, "retrying"), (2, "delivered")]
        others = [r for r in results if r["endpoint_id"] == "ep-1"]
        assert {(r["attempt"], r["verdict"]) for r in others} == {(1, "delivered")}
        assert len(others) == EVENTS + 2
    assert {name: stack.pid(name) for name in SERVICES} == pids
    assert all(stack.alive(name) for name in SERVICES)
