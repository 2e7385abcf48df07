"""Router, egress and delayer as a user runs them: child processes with settings of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

SERVICES = {"router": "HOOKFOLD_ROUTER_PORT", "egress": "HOOKFOLD_EGRESS_PORT", "delayer": "HOOKFOLD_DELAYER_PORT"}
PORTS = {**SERVICES, "gateway": "HOOKFOLD_GATEWAY_PORT"}
API_SECRET = "a secret of the tests with more than thirty-two bytes"


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(children: Collection[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to all of them, also to those that sleep, and SIGKILL to who takes longer than 15 s."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGCONT)
            child.terminate()
    for child in children:
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Stack:
    """Router, egress and delayer as child processes on topics of their own."""

    def __init__(self, kafka: str, prefix: str, folder: Path, **settings: str) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.ports = {name: free_port() for name in PORTS}
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        #: What Python runs before the command's name, instead of the command line itself.
        self.skew: list[str] = []
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HOOKFOLD_")},
            "HOOKFOLD_KAFKA": kafka,
            "HOOKFOLD_PREFIX": prefix,
            "HOOKFOLD_PARTITIONS": "4",
            "HOOKFOLD_DATA_DIR": str(folder),
            "HOOKFOLD_ALLOW_HTTP": "1",
            "HOOKFOLD_ALLOW_NETWORKS": "127.0.0.0/8",
            "HOOKFOLD_RETRY_JITTER": "0",
            **{variable: str(self.ports[name]) for name, variable in PORTS.items()},
            "HOOKFOLD_API_SECRET": API_SECRET,
            **settings,
        }

    def command(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "compose.cli", *words],
            env={**self.env, **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *names: str, words: Sequence[str] = ()) -> None:
        """Start services, with `words` after their name; their log goes to a file each. Returns at once."""
        for name in names:
            with (self._folder / f"{name}.log").open("ab") as log:
                self._children[name] = subprocess.Popen(
                    [sys.executable, *(self.skew or ["-m", "compose.cli"]), name, *words],
                    env={**self.env, "HOOKFOLD_INSTANCE": f"{name}-0"},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def ready(self, name: str) -> bool:
        """What its /readyz says."""
        return self.page(name, "/readyz")[0] == 200

    def page(self, name: str, path: str) -> tuple[int, bytes]:
        """Status and body of a page; status 0 where nobody answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except HTTPError as problem:
            return problem.code, problem.read()
        except (URLError, OSError):
            return 0, b""

    def wait_ready(self, *names: str, timeout_s: float = 60.0) -> None:
        """Return when all are ready; fail with the tail of the log otherwise."""
        until = time.monotonic() + timeout_s
        for name in names:
            while not self.ready(name):
                if time.monotonic() > until or self._children[name].poll() is not None:
                    pytest.fail(f"{name} is not ready: {self.page(name, '/readyz')}\n{self.log(name)[-3000:]}")
                time.sleep(0.1)

    def log(self, name: str) -> str:
        """All that the service has said."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def pid(self, name: str) -> int:
        """Its process id."""
        return self._children[name].pid

    def children(self, name: str) -> list[int]:
        """The process ids of what it has started, oldest first."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if stat[1] == str(self.pid(name)) and stat[0] != "Z":
                    found.append((int(stat[19]), int(entry.name)))
        return [pid for _, pid in sorted(found)]

    def alive(self, name: str) -> bool:
        """True while its process lives."""
        return self._children[name].poll() is None

    def wait(self, name: str, timeout_s: float) -> int:
        """The exit status of a service that ends by itself."""
        try:
            return self._children[name].wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{name} did not end within {timeout_s} s\n{self.log(name)[-3000:]}")

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        self._children[name].send_signal(signal.SIGKILL)
        self._children[name].wait()

    def stop(self, name: str, timeout_s: float = 10.0) -> int:
        """SIGTERM; its exit status. Fails when it takes longer."""
        child = self._children.pop(name)
        child.terminate()
        try:
            return child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            pytest.fail(f"{name} did not stop within {timeout_s} s\n{self.log(name)[-3000:]}")

    def close(self) -> None:
        """End everything that still runs."""
        end(self._children.values())
