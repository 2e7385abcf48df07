"""The commands as a new user meets them, and the README's example as it stands there."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from plain import SECRET, Api, Client, Receiver, until
from stack import SERVICES, Stack, free_port

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name",
    ["kafka", "topics", "router", "egress", "delayer", "gateway", "up", "demo", "seal", "token", "tail", "asyncapi"],
)
def test_help_lists_the_settings_with_their_defaults(stack: Stack, name: str) -> None:
    shown = stack.command(name, "--help")
    assert shown.returncode == 0
    assert "HOOKFOLD_KAFKA" in shown.stdout
    assert "[127.0.0.1:9092]" in shown.stdout


def test_topics_says_what_exists_and_what_differs(stack: Stack) -> None:
    again = stack.command("topics")
    assert again.returncode == 0
    assert f"exists   {stack.prefix}events" in again.stdout
    assert "created" not in again.stdout
    other = stack.command("topics", HOOKFOLD_PARTITIONS="7")
    assert other.returncode == 3
    assert "partitions is 4, should be 7" in other.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_topics_with_other_partitions_are_one_clear_line_and_exit_2(stack: Stack, name: str) -> None:
    ended = stack.command(name, HOOKFOLD_PARTITIONS="7", **{SERVICES[name]: str(free_port())})
    assert ended.returncode == 2
    assert "has 4 partitions, HOOKFOLD_PARTITIONS is 7" in ended.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_taken_port_is_one_clear_line_and_exit_2(stack: Stack, name: str) -> None:
    ended = stack.command(name)
    assert ended.returncode == 2
    assert "address already in use" in ended.stderr


async def test_the_example_of_the_readme_delivers(stack: Stack, receiver: Receiver, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert example is not None
    text = example[1].replace("hookfold.", stack.prefix).replace("https://example.com/hooks", receiver.url + "/readme")
    (tmp_path / "example.py").write_text(text)
    ran = await asyncio.create_subprocess_exec(
        sys.executable, tmp_path / "example.py", env={**stack.env}, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(ran.communicate(), 30)
    assert ran.returncode == 0
    assert len(out.split()) >= 2
    await until(lambda: len(receiver.at("/readme")) == 1, 20, "the example's POST")
    assert receiver.at("/readme")[0].verify("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")["data"] == {
        "total": 1.1
    }


def test_the_demo_ends_with_counts_that_add_up(stack: Stack) -> None:
    shown = stack.command("demo", DEMO_SECONDS="4", HOOKFOLD_PARTITIONS="4")
    assert shown.returncode == 0, shown.stderr[-3000:]
    assert "The counts add up." in shown.stderr


def test_kafka_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        broker = subprocess.Popen(
            [sys.executable, "-m", "compose.cli", "kafka", "--port", str(free_port()), "--data-dir", tmp_path / "data"],
            stderr=log,
        )
    try:
        for _ in range(600):
            if "kafka.ready" in (tmp_path / "log").read_text() or broker.poll() is not None:
                break
            time.sleep(0.1)
        assert "kafka.ready" in (tmp_path / "log").read_text()
        broker.terminate()
        assert broker.wait(15) == 0
    finally:
        broker.kill()
        broker.wait()


async def test_up_runs_everything_and_starts_what_dies_again(
    make_stack: Callable[..., Stack], receiver: Receiver, tmp_path: Path
) -> None:
    stack = make_stack()
    del stack.env["HOOKFOLD_API_SECRET"]
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen(  # noqa: ASYNC220  it lives as long as the test
            [sys.executable, "-m", "compose.cli", "up"], env=stack.env, stderr=log, start_new_session=True
        )
    said = (tmp_path / "up.log").read_text

    def children() -> dict[str, int]:
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            except OSError:
                continue
            if parent == str(up.pid) and b"compose.cli" in words:
                found[words[-2].decode()] = int(entry.name)
        return found

    try:
        await until(lambda: "hookfold.ready" in said(), 60, "ready")
        before = children()
        assert set(before) == {*SERVICES, "gateway"}
        # Without a secret given it has made one, that `hookfold token` finds where it was put.
        token = (await asyncio.to_thread(stack.command, "token", "--scope", "admin")).stdout.strip()
        async with Api(f"http://127.0.0.1:{stack.ports['gateway']}", token, "acme") as api:
            assert (await api.ok("GET", "/endpoints"))["items"] == []
        kept = Path(stack.env["HOOKFOLD_DATA_DIR"]) / "api-secret"
        assert kept.stat().st_mode & 0o077 == 0
        os.kill(before["egress"], signal.SIGKILL)
        await until(lambda: "egress has been started again" in said(), 20, "a new egress")
        async with Client(stack.kafka, stack.prefix) as client:
            await client.register("acme", "e", receiver.url + "/up")
            await client.event("acme", 1)
            await until(lambda: len(receiver.at("/up")) == 1, 30, "a delivery after it")
        receiver.at("/up")[0].verify(SECRET)
        up.terminate()
        assert await asyncio.to_thread(up.wait, 30) == 0
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children().values()), 10, "no child left")
    finally:
        up.kill()
        up.wait()
    assert [stack.page(name, "/healthz")[0] for name in SERVICES] == [0, 0, 0]
