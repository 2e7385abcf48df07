"""Keeps child processes alive: one that dies is started again, later each time, and this is said."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compose import children
from compose.kafka import KafkaFailed, LocalKafka

STOP_TIMEOUT_S = 10.0
LOOK_S = 0.2
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0
#: A child that has lived so long has come up well: its next end is a first one again.
STEADY_S = 60.0


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    started: float
    backoff_s: float = FIRST_BACKOFF_S
    again_at: float | None = None


@dataclass
class Supervisor:
    """Runs `hookfold <name>` for each name, with `env`, in the order of `names`; stops them in the reverse order.

    `say` gets a line whenever something ends or is started again. `log_dir`: a file each for their logs; None lets
    them write to this process's own standard error.
    """

    names: Sequence[str]
    env: Mapping[str, str]
    say: Callable[[str], None]
    log_dir: Path | None = None
    broker: LocalKafka | None = None
    restarts: int = 0
    _children: dict[str, _Child] = field(default_factory=dict)

    def start(self) -> None:
        """Start all."""
        for name in self.names:
            self._children[name] = _Child(self._start(name), time.monotonic())

    async def watch(self, stop: asyncio.Event) -> None:
        """Start again what ends, until `stop` is set."""
        while not stop.is_set():
            now = time.monotonic()
            for name, child in self._children.items():
                self._look_after(name, child, now)
            self._look_after_broker()
            await asyncio.sleep(LOOK_S)

    def stop(self) -> dict[str, int]:
        """Stop all; their exit statuses."""
        statuses = {}
        for name in reversed(self.names):
            if name in self._children:
                statuses[name] = children.stop(self._children.pop(name).process, STOP_TIMEOUT_S)
        return statuses

    def pid(self, name: str) -> int:
        """The process id of a child."""
        return self._children[name].process.pid

    def _look_after(self, name: str, child: _Child, now: float) -> None:
        if child.again_at is not None:
            if now >= child.again_at:
                child.process, child.started, child.again_at = self._start(name), now, None
                self.restarts += 1
                self.say(f"{name} has been started again")
            return
        status = child.process.poll()
        if status is not None:
            if now - child.started > STEADY_S:
                child.backoff_s = FIRST_BACKOFF_S
            child.again_at = now + child.backoff_s
            self.say(f"{name} has ended with status {status}; it is started again in {child.backoff_s:.0f} s")
            child.backoff_s = min(child.backoff_s * 2, MAX_BACKOFF_S)

    def _look_after_broker(self) -> None:
        if self.broker is not None and not self.broker.running:
            self.say("kafka has ended; it is started again")
            self.broker.stop()
            try:
                self.broker.start()
            except KafkaFailed as problem:
                self.say(f"kafka cannot be started: {problem}")

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "compose.cli", name]
        # A name of its own makes it a static member of its group: started again, it has its partitions back at once.
        env = {**self.env, "HOOKFOLD_INSTANCE": f"{name}-0"}
        if self.log_dir is None:
            return children.start(command, env=env)
        with (self.log_dir / f"{name}.log").open("ab") as log:
            return children.start(command, env=env, output=log)
