"""`--workers N`: a service as several processes, members of one group, that are kept alive and stop together."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from compose import up
from compose.supervisor import Member, Supervisor
from compose.worker_pages import WorkerPages
from schemas.settings import Settings
from streams import provisioning
from streams.lane.health import Health
from streams.process import LEAVE_TIMEOUT_S

logger = logging.getLogger(__name__)

LOOK_S = 1.0
#: What the parent takes beside its workers' own time to stop.
MARGIN_S = 1.0
_HOST_CHARACTERS = 60


@dataclass
class Workers:
    """`count` processes of a service. `port`: the one that answers for all; theirs are on 127.0.0.1, any free one."""

    service: str
    count: int
    settings: Settings
    port: int
    _ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        env = up.stack_env(self.settings.kafka, {"HOOKFOLD_BIND": "127.0.0.1"})
        members = [self._member(number) for number in range(self.count)]
        self._supervisor = Supervisor(
            members,
            env,
            lambda line: logger.warning("workers.%s", line),
            together=True,
            gives_up=True,
            stop_timeout_s=self.settings.drain_ms / 1000 + LEAVE_TIMEOUT_S + MARGIN_S,
        )
        self.pages = WorkerPages(
            self.settings.bind, self.port, self.service == "router", lambda: self._ports, self._supervisor.pids
        )

    @property
    def stop_s(self) -> float:
        """How long a stop may take, in seconds, as `process.main` counts it."""
        return self.settings.drain_ms / 1000 + 2 * MARGIN_S

    async def serve(self, health: Health, stop: asyncio.Event) -> None:
        """Keep all of them running until `stop` is set. Raises `WrongTopics` or `GivenUp`."""
        await provisioning.wait_for_topics(self.settings, stop)
        if stop.is_set():
            return
        async with self._supervisor.running(stop):
            looking = asyncio.get_running_loop().create_task(self._look(health))
            await stop.wait()
            looking.cancel()

    async def _look(self, health: Health) -> None:
        """Say when all are ready, and why not when they are not."""
        said: set[str] = set()
        while True:
            reasons = await self.pages.reasons()
            for condition in said - reasons.keys():
                health.ready(condition)
            for condition, reason in reasons.items():
                health.unready(condition, reason)
            said = set(reasons)
            health.ready("start")
            health.kafka_answered()  # the workers listen to it, and say so
            await asyncio.sleep(LOOK_S)

    def _member(self, number: int) -> Member:
        name = f"{self.service}-{number}"
        # Two hosts' workers, or two parents on one host, must not be taken for each other.
        instance = self.settings.instance or f"{_host()}-{self.port}"

        def env() -> Mapping[str, str]:
            self._ports[name] = up.free_port()
            return {
                "HOOKFOLD_INSTANCE": f"{instance}-{number}",
                "HOOKFOLD_DATA_DIR": str(self.settings.data_dir / name),
                f"HOOKFOLD_{self.service.upper()}_PORT": str(self._ports[name]),
            }

        return Member(name, self.service, env)


def _host() -> str:
    kept = (character if character.isascii() and character.isalnum() else "-" for character in socket.gethostname())
    return "".join(kept)[:_HOST_CHARACTERS] or "host"
