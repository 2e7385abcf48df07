"""`hookfold tail` shows what comes, as it comes."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from plain import Client, Receiver, tenant_name, until
from stack import Stack
from tailing import tail


async def test_results_are_shown_as_they_come(stack: Stack, client: Client, receiver: Receiver, tmp_path: Path) -> None:
    tenant = tenant_name()
    receiver.answers["/flaky"] = lambda post: 503 if post.headers["webhook-attempt"] == "1" else 204
    await client.register(tenant, "good", receiver.url + "/in")
    retry = {"schedule": ["1s"], "jitter": 0}
    await client.register(tenant, "flaky", receiver.url + "/flaky", retry=retry)
    async with (
        tail(stack, tmp_path / "all", "--tenant", tenant, "--event-type", "invoice.*", "--count", "3") as shown,
        tail(stack, tmp_path / "failed", "--tenant", tenant, "--failed", "--json") as failed,
    ):
        await client.follow("results")
        await client.event(tenant, 0, "order", id="not asked for")
        await client.event(tenant, 1, id="e-1")
        assert await shown.ended(20) == 0
        assert len(shown.lines) == 3
        by_end = {tuple(line.split()[1:7]) for line in shown.lines}
        assert by_end == {
            (f"{tenant}/good", "invoice.paid", "e-1", "#1", "delivered", "204"),
            (f"{tenant}/flaky", "invoice.paid", "e-1", "#1", "retrying", "503"),
            (f"{tenant}/flaky", "invoice.paid", "e-1", "#2", "delivered", "204"),
        }
        (retrying,) = (line for line in shown.lines if "retrying" in line)
        assert " next in " in retrying
        assert "\x1b" not in "".join(shown.lines)
        await until(lambda: len(failed.lines) == 2, 10, "the failed ones")
        values = [record.value.decode() for record in client.records["results"]]
        assert [json.loads(line)["verdict"] for line in failed.lines] == ["retrying", "retrying"]
        assert set(failed.lines) <= set(values)
        failed.child.send_signal(signal.SIGINT)
        assert await failed.ended() == 0
    await _those_of_before(stack, tenant, tmp_path)


async def _those_of_before(stack: Stack, tenant: str, folder: Path) -> None:
    """`--since` shows what came before, and a terminal gets colours unless NO_COLOR is set."""
    words = ["--tenant", tenant, "--endpoint", "flaky", "--event", "e-1", "--since", "1m", "--count", "2"]
    async with tail(stack, folder / "since", *words, "--verdict", "retrying", "--verdict", "delivered") as since:
        assert await since.ended() == 0
        assert [line.split()[5] for line in since.lines] == ["retrying", "delivered"]
    coloured, plain = await asyncio.gather(
        _in_a_terminal(stack, words, NO_COLOR=""), _in_a_terminal(stack, words, NO_COLOR="1")
    )
    assert "\x1b[3" in coloured
    assert "\x1b" not in plain
    assert plain.count("\n") == 2


async def _in_a_terminal(stack: Stack, words: Sequence[str], **env: str) -> str:
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "compose.cli", "tail", *words]
    env = {**stack.env, "TERM": "xterm", **env}
    child = await asyncio.create_subprocess_exec(*command, env=env, stdout=its, stderr=asyncio.subprocess.DEVNULL)
    os.close(its)
    try:
        assert await asyncio.wait_for(child.wait(), 20) == 0
        return os.read(ours, 65_536).decode()
    finally:
        os.close(ours)


async def test_without_kafka_it_says_so_and_waits(stack: Stack, tmp_path: Path) -> None:
    """That it goes on when Kafka is back is seen in test_gateway_outage.py, which has a Kafka to stop."""
    async with tail(stack, tmp_path / "out", ready=False, HOOKFOLD_KAFKA="127.0.0.1:1") as running:
        await until(lambda: "Kafka at 127.0.0.1:1 does not answer" in running.said, 20, "it says so")
        running.child.terminate()
        assert await running.ended() == 0
