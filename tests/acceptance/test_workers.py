"""`--workers N`: several processes of a service behave as one, behind one port."""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from plain import Client, Receiver, tenant_name, until
from stack import SERVICES, Stack, free_port

TWO = ("--workers", "2")


@pytest.fixture
async def two(make_stack: Callable[..., Stack]) -> AsyncIterator[Stack]:
    """A stack with two workers of each service."""
    stack = make_stack()
    stack.start(*SERVICES, words=TWO)
    await asyncio.to_thread(stack.wait_ready, *SERVICES)
    yield stack
    await asyncio.to_thread(stack.close)


def counted(stack: Stack, service: str, name: str) -> float:
    """The sum of a counter over its labels."""
    text = stack.page(service, "/metrics")[1].decode()
    return sum(float(found) for found in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def levels(stack: Stack, service: str, name: str) -> dict[str, float]:
    """A gauge of each worker."""
    text = stack.page(service, "/metrics")[1].decode()
    return {worker: float(level) for worker, level in re.findall(rf'{name}{{worker="(.+)"}} (\S+)', text)}


def lanes(stack: Stack, service: str) -> dict[str, float]:
    """How many partitions each worker has."""
    return levels(stack, service, "hookfold_lanes_open")


def lives(pid: int) -> bool:
    """True while the process is there."""
    return Path(f"/proc/{pid}").exists()


async def test_two_workers_share_the_partitions_and_one_that_dies_costs_nothing(two: Stack, receiver: Receiver) -> None:
    tenants = [tenant_name() for _ in range(12)]
    for name in SERVICES:
        await until(lambda name=name: sorted(lanes(two, name).values()) == [2, 2], 30, f"partitions of {name}")
        assert set(lanes(two, name)) == {f"{name}-0", f"{name}-1"}
    async with Client(two.kafka, two.prefix) as client:
        await client.follow("results")
        for tenant in tenants:
            await client.register(tenant, "ep-1", receiver.url + "/in")
        # The router's workers are both asked, and both know some.
        for tenant in tenants:
            await until(
                lambda tenant=tenant: two.page("router", f"/endpoints/{tenant}/ep-1/")[0] == 200, 20, "the endpoint"
            )
        assert (await asyncio.to_thread(two.page, "router", f"/endpoints/{tenants[0]}/nobody/"))[0] == 404
        # An endpoint is one router's, and every egress may have to send to it.
        assert sum(levels(two, "router", "hookfold_endpoints").values()) == len(tenants)
        await until(
            lambda: list(levels(two, "egress", "hookfold_endpoints").values()) == 2 * [len(tenants)], 20, "its view"
        )
        parts = json.loads((await asyncio.to_thread(two.page, "router", "/lag/"))[1])["partitions"]
        assert [part["partition"] for part in parts] == [0, 1, 2, 3]
        for path in ("/", "/stats/", "/assignment/"):
            assert set(json.loads((await asyncio.to_thread(two.page, "router", path))[1])) == {"router-0", "router-1"}

        async def offer(first: int) -> None:
            for number in range(first, first + 20):
                for tenant in tenants:
                    await client.event(tenant, number)

        def ended() -> int:
            return sum(len(client.results(tenant)) for tenant in tenants)

        await offer(0)
        await until(lambda: ended() == 20 * len(tenants), 40, "the first results")
        before = counted(two, "egress", "hookfold_attempts_total")
        assert before == 20 * len(tenants)
        for name in ("router", "egress"):
            victim = two.children(name)[0]
            os.kill(victim, signal.SIGKILL)
            await until(lambda name=name: two.page(name, "/readyz")[0] == 503, 10, "its absence is said")
            await offer(20 if name == "router" else 40)
            await until(lambda name=name: two.ready(name), 40, "all are ready again")
            assert victim not in two.children(name)
            assert "has been started again" in two.log(name)
        await until(lambda: ended() == 60 * len(tenants), 60, "all results")
        verdicts = Counter(
            (tenant, result["event_id"], result["verdict"]) for tenant in tenants for result in client.results(tenant)
        )
        assert set(verdicts.values()) == {1}
        assert {verdict for _, _, verdict in verdicts} == {"delivered"}
        # A sum does not go down because a process has begun anew.
        assert counted(two, "egress", "hookfold_attempts_total") >= before
        assert counted(two, "router", "hookfold_events_total") >= before


async def test_readiness_names_the_worker_that_is_not(two: Stack) -> None:
    victim = two.children("delayer")[0]
    os.kill(victim, signal.SIGKILL)
    said: list[dict[str, str]] = []

    def unready() -> bool:
        status, body = two.page("delayer", "/readyz")
        if status == 503:
            said.append(json.loads(body)["reasons"])
        return status == 503

    await until(unready, 10, "a worker is missed")
    assert {condition.partition(".")[0] for condition in said[-1]} <= {"delayer-0", "delayer-1"}
    assert two.page("delayer", "/healthz")[0] == 200
    await until(lambda: two.ready("delayer"), 40, "it is back")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_ends_all_workers_in_time_and_with_0(two: Stack, signum: signal.Signals) -> None:
    workers = {name: two.children(name) for name in SERVICES}
    assert {len(pids) for pids in workers.values()} == {2}
    for name in SERVICES:
        os.kill(two.pid(name), signum)
    for name in SERVICES:
        assert await asyncio.to_thread(two.wait, name, 10.0) == 0, two.log(name)[-2000:]
        assert not any(lives(pid) for pid in workers[name])


async def test_workers_do_not_outlive_a_parent_that_is_killed(two: Stack) -> None:
    for name in SERVICES:
        workers = two.children(name)
        two.kill(name)
        await until(lambda workers=workers: not any(lives(pid) for pid in workers), 15, name)


async def test_workers_wait_for_kafka_and_say_so(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    stack.env["HOOKFOLD_KAFKA"] = "127.0.0.1:1"
    stack.start("egress", words=TWO)
    await until(lambda: "does not answer" in stack.log("egress"), 30, "a clear line")
    assert (await asyncio.to_thread(stack.page, "egress", "/readyz"))[0] == 503
    assert await asyncio.to_thread(stack.stop, "egress") == 0


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (("--workers", "0"), {}, "0 is not in the range 1<=x<=256"),
        (("--workers", "5"), {}, "--workers 5: with 4 partitions no more than that have work"),
        (TWO, {"HOOKFOLD_DRAIN_MS": "soon"}, "HOOKFOLD_DRAIN_MS"),
        (TWO, {"HOOKFOLD_PARTITIONS": "7"}, "has 4 partitions, HOOKFOLD_PARTITIONS is 7"),
    ],
)
@pytest.mark.parametrize("name", SERVICES)
def test_what_only_an_operator_can_put_right_is_one_line_and_exit_2(
    stack: Stack, name: str, words: tuple[str, ...], settings: dict[str, str], said: str
) -> None:
    ended = stack.command(name, *words, **settings, **{SERVICES[name]: str(free_port())})
    assert ended.returncode == 2
    assert len([line for line in ended.stderr.strip().splitlines() if "waiting" not in line]) == 1, ended.stderr
    assert said in ended.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_taken_port_is_one_line_and_exit_2(stack: Stack, name: str) -> None:
    ended = stack.command(name, *TWO)
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert "address already in use" in ended.stderr
