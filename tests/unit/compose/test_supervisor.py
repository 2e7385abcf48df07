"""What dies is started again; what says that only an operator can help is not, where that was asked for."""

import asyncio
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compose import children, supervisor
from compose.supervisor import GivenUp, Member, Supervisor


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(supervisor, "LOOK_S", 0.01)


def member(folder: Path, name: str, script: str) -> Member:
    """A member whose command line is a module that runs `script`."""
    (folder / "compose").mkdir(exist_ok=True)
    (folder / "compose" / "__init__.py").touch()
    (folder / "compose" / "cli.py").write_text("import os, runpy, sys\nexec(os.environ['SCRIPT'])\n")
    return Member(name, "any", lambda: {"SCRIPT": script, "PYTHONPATH": str(folder)})


async def test_a_member_that_only_an_operator_can_help_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    watched = Supervisor([member(tmp_path, "w-0", "sys.exit(2)")], {}, said.append, gives_up=True)
    watched.start()
    with pytest.raises(GivenUp, match="w-0 has ended with status 2 again"):
        await asyncio.wait_for(watched.watch(asyncio.Event()), 20)
    assert watched.restarts == 1


async def test_a_member_is_asked_for_its_settings_at_every_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[int] = []
    one = member(tmp_path, "w-0", "sys.exit(70)")
    told = Member("w-0", "any", lambda: asked.append(1) or one.env())  # type: ignore[func-returns-value]
    stop = asyncio.Event()
    watched = Supervisor([told], {}, lambda _: None, gives_up=True)
    watched.start()
    watching = asyncio.create_task(watched.watch(stop))
    async with asyncio.timeout(20):
        while watched.restarts < 3:
            await asyncio.sleep(0.01)
    stop.set()
    await watching
    assert len(asked) == 4
    watched.stop()


def test_together_nobody_waits_for_who_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    order = tmp_path / "order"
    script = (
        "import signal, time\n"
        "def end(*_):\n"
        f"    open({str(order)!r}, 'a').write('asked ')\n"
        f"    while open({str(order)!r}).read().count('asked') < 2: time.sleep(0.01)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"open({str(tmp_path)!r} + '/up-' + str(os.getpid()), 'w')\n"
        "while True: time.sleep(0.01)\n"
    )
    watched = Supervisor(
        [member(tmp_path, "w-0", script), member(tmp_path, "w-1", script)], {}, lambda _: None, together=True
    )
    watched.start()
    while len(list(tmp_path.glob("up-*"))) < 2:
        pass
    assert set(watched.pids()) == {"w-0", "w-1"}
    assert watched.stop() == {"w-0": 0, "w-1": 0}


FOREVER = "import time\nwhile True: time.sleep(1)\n"


async def test_where_watching_fails_all_are_stopped_and_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def say(line: str) -> None:
        raise BrokenPipeError(line)

    members = [member(tmp_path, "w-0", FOREVER), member(tmp_path, "w-1", "sys.exit(1)")]
    watched, stop = Supervisor(members, {}, say), asyncio.Event()
    running: list[subprocess.Popen[bytes]] = []
    told: list[str] = []

    async def run() -> None:
        async with watched.running(stop):
            running.extend(child.process for child in watched._children.values())
            await stop.wait()
            told.append("to stop")

    with pytest.raises(BrokenPipeError, match="w-1 has ended"):
        await asyncio.wait_for(run(), 10)
    assert told == ["to stop"]
    assert [child.poll() for child in running] == [-signal.SIGTERM, 1]


async def test_who_has_been_started_is_stopped_where_another_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started: list[subprocess.Popen[bytes]] = []
    start = children.start

    def out_of_processes(*told: Any, **more: Any) -> subprocess.Popen[bytes]:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(start(*told, **more))
        return started[0]

    monkeypatch.setattr(children, "start", out_of_processes)
    members = [member(tmp_path, name, FOREVER) for name in ("w-0", "w-1")]
    with pytest.raises(BlockingIOError):
        async with Supervisor(members, {}, lambda _: None).running(asyncio.Event()):
            pytest.fail("it did not start")
    assert started[0].poll() == -signal.SIGTERM


async def test_a_member_that_cannot_be_started_again_just_now_is_later_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    start, refusals = children.start, 0
    watched = Supervisor([member(tmp_path, name, "sys.exit(1)") for name in ("w-0", "w-1")], {}, said.append)

    def out_of_processes(*told: Any, **more: Any) -> subprocess.Popen[bytes]:
        nonlocal refusals
        if watched.restarts in (1, 2) and refusals < 3:
            refusals += 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(*told, **more)

    monkeypatch.setattr(children, "start", out_of_processes)
    async with asyncio.timeout(20), watched.running(stop := asyncio.Event()):
        while watched.restarts < 4 and not stop.is_set():
            await asyncio.sleep(0.01)
    assert refusals == 3
    assert any("cannot be started: [Errno 11]" in line for line in said)
    assert {line.split()[0] for line in said if line.endswith("has been started again")} == {"w-0", "w-1"}
