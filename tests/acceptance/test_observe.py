"""The pages tell the truth, and every process stops when it is told to."""

import asyncio
import json
from collections.abc import Callable

from plain import Client, Receiver, tenant_name, until
from stack import SERVICES, Stack


async def test_the_stats_pages_answer_while_events_flow(stack: Stack, client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.register(tenant, "ep-1", receiver.url + "/in")
    await asyncio.sleep(0.002)
    for n in range(20):
        await client.event(tenant, n)
        for path in ("/", "/stats/", "/assignment/", "/lag/", "/healthz", "/readyz", "/metrics"):
            status, body = await asyncio.to_thread(stack.page, "router", path)
            assert status == 200, (path, body)
    await until(lambda: len(receiver.at("/in")) == 20, 20, "20 posts")
    for name in ("egress", "delayer"):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await asyncio.to_thread(stack.page, name, path))[0] == 200


async def test_a_process_is_not_ready_before_it_can_work_and_sigterm_ends_it_with_0(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack()
    for name in SERVICES:
        stack.start(name)
        seen: set[int] = set()
        await until(lambda name=name, seen=seen: seen.add(stack.page(name, "/readyz")[0]) or 200 in seen, 60, name)
        if 503 in seen:
            continue
        # The page may come up a moment before the first look; then the process must say it was not ready in its log.
        assert "ready" in stack.log(name)
    for name in SERVICES:
        assert await asyncio.to_thread(stack.stop, name) == 0, stack.log(name)[-2000:]


async def test_a_process_without_kafka_waits_and_says_so(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    stack.env["HOOKFOLD_KAFKA"] = "127.0.0.1:1"
    for name in SERVICES:
        stack.start(name)
    await until(lambda: all("does not answer" in stack.log(name) for name in SERVICES), 30, "a clear line")
    for name in SERVICES:
        status, body = await asyncio.to_thread(stack.page, name, "/readyz")
        assert status == 503, (name, status)
        assert json.loads(body)
        assert await asyncio.to_thread(stack.stop, name) == 0


def test_a_bad_setting_is_one_clear_line_and_exit_2(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    for name in SERVICES:
        ended = stack.command(name, HOOKFOLD_PARTITIONS="many")
        assert ended.returncode == 2
        assert len(ended.stderr.strip().splitlines()) == 1
        assert "HOOKFOLD_PARTITIONS" in ended.stderr
