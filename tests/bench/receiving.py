"""The receiver's process, seen from a scenario."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from compose import children
from tests.bench.receiver import Arrival

#: A receiver's answer to a question may hold all that it has noted.
MAX_LINE = 1_024 * 1_048_576


@dataclass(frozen=True)
class Receiver:
    """`tests.bench.receiver` in its process: `ports` that take webhooks, and one for orders."""

    control: int
    ports: list[int]

    async def order(self, manners: Mapping[str, Sequence[int]]) -> None:
        """Set who hangs (`hang`), drips (`drip`) or answers 500 (`fail`), by place in `ports`; all others are well."""
        await self._ask(manners)

    async def arrivals(self, since: int = 0) -> list[Arrival]:
        """What was answered, but for the first so many."""
        return [Arrival(*one) for one in await self._ask(since)]

    async def _ask(self, order: Mapping[str, Sequence[int]] | int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.control, limit=MAX_LINE)
        writer.write(json.dumps(order).encode() + b"\n")
        answer = orjson.loads(await reader.readline())
        writer.close()
        return answer


@contextlib.contextmanager
def receiving(count: int, certificate: Path | None = None) -> Iterator[Receiver]:
    """A receiver with so many ports, with TLS where there is a certificate with its key."""
    command = [sys.executable, "-m", "tests.bench.receiver", str(count), *([str(certificate)] if certificate else [])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        control, *ports = json.loads(child.stdout.readline())
        yield Receiver(control, ports)
    finally:
        children.stop(child, 5)  # type: ignore[arg-type]
