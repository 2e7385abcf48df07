"""Routers, egresses and delayers as child processes, each with its name, its port and its log for a whole run."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from stack import end, free_port

from tests.chaos import plan
from tests.chaos.plan import SERVICES

SESSION_MS = 6_000
MOST_INSTANCES = 3

#: With `SEAL=1`, what is on the way is sealed: nothing else may differ.
SEALING = {"HOOKFOLD_SEAL_KEYS": f"k:{'A' * 43}", "HOOKFOLD_SEAL_PAYLOADS": "1"}


class Processes:
    """`instances` of each service. `mutant`: a module that is run instead of the command line, to spoil it."""

    def __init__(self, kafka: str, prefix: str, folder: Path, instances: int, mutant: str | None = None) -> None:
        self._folder = folder
        self._mutant = mutant
        self._instances = instances
        self._ports = {(name, index): free_port() for name in SERVICES for index in range(MOST_INSTANCES)}
        self._running: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HOOKFOLD_")},
            "HOOKFOLD_KAFKA": kafka,
            "HOOKFOLD_PREFIX": prefix,
            "HOOKFOLD_PARTITIONS": "4",
            "HOOKFOLD_ALLOW_HTTP": "1",
            "HOOKFOLD_ALLOW_NETWORKS": "127.0.0.0/8",
            "HOOKFOLD_RETRY_JITTER": "0",
            "HOOKFOLD_RETRY_SCHEDULE": ",".join(plan.SCHEDULE),
            "HOOKFOLD_SESSION_TIMEOUT_MS": str(SESSION_MS),
            **(SEALING if os.environ.get("SEAL") else {}),
        }

    def start_all(self) -> None:
        """Topics, then every process."""
        subprocess.run([sys.executable, "-m", "compose.cli", "topics"], env=self._env, check=True, capture_output=True)
        for name in SERVICES:
            for index in range(self._instances):
                self.start(name, index)

    def start(self, name: str, index: int) -> None:
        """One process."""
        env = {
            **self._env,
            "HOOKFOLD_INSTANCE": str(index),
            f"HOOKFOLD_{name.upper()}_PORT": str(self._ports[name, index]),
            "HOOKFOLD_DATA_DIR": str(self._folder / f"{name}-{index}"),
        }
        module = ["tests.chaos.mutants", self._mutant] if self._mutant else ["compose.cli"]
        with (self._folder / f"{name}-{index}.log").open("ab") as log:
            self._running[name, index] = subprocess.Popen(
                [sys.executable, "-m", *module, name], env=env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str, index: int) -> None:
        """kill -9."""
        process = self._running.pop((name, index))
        process.kill()
        process.wait()

    def stop(self, name: str, index: int) -> int:
        """SIGTERM; the exit status."""
        process = self._running.pop((name, index))
        process.terminate()
        return process.wait(25)

    async def sleep(self, name: str, index: int, for_s: float) -> None:
        """SIGSTOP, and SIGCONT after a time."""
        process = self._running[name, index]
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(for_s)
        process.send_signal(signal.SIGCONT)

    def revive(self) -> list[str]:
        """Start again what ended by itself, as a supervisor would; the last line that each of them said."""
        ended = [key for key, process in self._running.items() if process.poll() is not None]
        said = []
        for name, index in ended:
            lines = (self._folder / f"{name}-{index}.log").read_text(errors="replace").splitlines()
            said.append(next((line for line in reversed(lines) if ".stopped" in line), f"{name}: not a word"))
            self.start(name, index)
        return said

    def close(self) -> None:
        """End all of them."""
        end(self._running.values())
