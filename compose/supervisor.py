"""Keeps child processes alive: one that dies is started again, later each time, and this is said."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compose import children
from compose.commands import EXIT_WRONG
from compose.kafka import KafkaFailed, LocalKafka

STOP_TIMEOUT_S = 10.0
LOOK_S = 0.2
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0
#: A child that has lived so long has come up well: its next end is a first one again.
STEADY_S = 60.0


class GivenUp(Exception):
    """A child says again and again that only an operator can put it right."""


@dataclass(frozen=True)
class Member:
    """One child: `hookfold <command>`. `env` is asked at every start for what is set for it alone."""

    name: str
    command: str
    env: Callable[[], Mapping[str, str]]


def one_each(commands: Sequence[str]) -> list[Member]:
    """A member for each command. A name of its own makes it a static member of its group: started again, it has its
    partitions back at once."""
    return [Member(name, name, lambda name=name: {"HOOKFOLD_INSTANCE": f"{name}-0"}) for name in commands]  # type: ignore[misc]


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    started: float
    backoff_s: float = FIRST_BACKOFF_S
    again_at: float | None = None
    refused: int = 0


@dataclass
class Supervisor:
    """Runs its members with `env`, in their order; stops them in the reverse order, or `together`.

    `say` gets a line whenever something ends or is started again. `log_dir`: a file each for their logs; None lets
    them write to this process's own standard error. `gives_up`: a member that ends with status 2 twice running (once
    may be a port that was taken just then) is the end of `watch`.
    """

    members: Sequence[Member]
    env: Mapping[str, str]
    say: Callable[[str], None]
    log_dir: Path | None = None
    broker: LocalKafka | None = None
    together: bool = False
    gives_up: bool = False
    stop_timeout_s: float = STOP_TIMEOUT_S
    restarts: int = 0
    _children: dict[Member, _Child] = field(default_factory=dict)

    def start(self) -> None:
        """Start all."""
        for member in self.members:
            self._children[member] = _Child(self._start(member), time.monotonic())

    @contextlib.asynccontextmanager
    async def running(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """All are running, and are kept so until `stop` is set or the block is left; then all are stopped.

        Where that cannot go on, `stop` is set, and what `watch` or a first start raised is raised in the end.
        """
        try:
            self.start()
            watching = asyncio.get_running_loop().create_task(self.watch(stop))
            watching.add_done_callback(lambda _: stop.set())
            try:
                yield
            finally:
                stop.set()
                await watching
        finally:
            await asyncio.to_thread(self.stop)

    async def watch(self, stop: asyncio.Event) -> None:
        """Start again what ends, until `stop` is set. Raises `GivenUp`."""
        while not stop.is_set():
            now = time.monotonic()
            for member, child in self._children.items():
                self._look_after(member, child, now)
            self._look_after_broker()
            await asyncio.sleep(LOOK_S)

    def stop(self) -> dict[str, int]:
        """Stop all; their exit statuses."""
        running = [(member.name, self._children[member].process) for member in reversed(self._children)]
        self._children.clear()
        if self.together:
            statuses = children.stop_all([process for _, process in running], self.stop_timeout_s)
            return {name: status for (name, _), status in zip(running, statuses, strict=True)}
        return {name: children.stop(process, self.stop_timeout_s) for name, process in running}

    def pids(self) -> dict[str, int]:
        """The process id of each member, of the last one where it is not running just now."""
        return {member.name: child.process.pid for member, child in self._children.items()}

    def _look_after(self, member: Member, child: _Child, now: float) -> None:
        if child.again_at is not None:
            if now >= child.again_at:
                try:
                    process = self._start(member)
                except OSError as problem:  # the machine is out of something; the others go on
                    child.again_at = now + child.backoff_s
                    self.say(f"{member.name} cannot be started: {problem}")
                    return
                child.process, child.started, child.again_at = process, now, None
                self.restarts += 1
                self.say(f"{member.name} has been started again")
            return
        status = child.process.poll()
        if status is not None:
            child.refused = child.refused + 1 if status == EXIT_WRONG else 0
            if self.gives_up and child.refused > 1:
                raise GivenUp(f"{member.name} has ended with status {status} again")
            if now - child.started > STEADY_S:
                child.backoff_s = FIRST_BACKOFF_S
            child.again_at = now + child.backoff_s
            self.say(f"{member.name} has ended with status {status}; it is started again in {child.backoff_s:.0f} s")
            child.backoff_s = min(child.backoff_s * 2, MAX_BACKOFF_S)

    def _look_after_broker(self) -> None:
        if self.broker is not None and not self.broker.running:
            self.say("kafka has ended; it is started again")
            self.broker.stop()
            try:
                self.broker.start()
            except (KafkaFailed, OSError) as problem:
                self.say(f"kafka cannot be started: {problem}")

    def _start(self, member: Member) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "compose.cli", member.command]
        env = {**self.env, **member.env()}
        if self.log_dir is None:
            return children.start(command, env=env)
        with (self.log_dir / f"{member.name}.log").open("ab") as log:
            return children.start(command, env=env, output=log)
