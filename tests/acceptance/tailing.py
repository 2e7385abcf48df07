"""A running `hookfold tail`."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from plain import until
from stack import Stack


class Tail:
    """A running `hookfold tail`, and what it has printed and said."""

    def __init__(self, child: asyncio.subprocess.Process, folder: Path) -> None:
        self._folder = folder
        self.child = child

    @property
    def lines(self) -> list[str]:
        """Its standard output."""
        return (self._folder / "out").read_text().splitlines()

    @property
    def said(self) -> str:
        """Its standard error."""
        return (self._folder / "err").read_text()

    async def ended(self, timeout_s: float = 10) -> int:
        """Its exit status."""
        return await asyncio.wait_for(self.child.wait(), timeout_s)


@contextlib.asynccontextmanager
async def tail(stack: Stack, folder: Path, *words: str, ready: bool = True, **env: str) -> AsyncIterator[Tail]:
    """`hookfold tail` with these words, killed at the end. `ready`: it follows already."""
    await asyncio.to_thread(folder.mkdir)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        command = [sys.executable, "-m", "compose.cli", "tail", *words]
        child = await asyncio.create_subprocess_exec(*command, env={**stack.env, **env}, stdout=out, stderr=err)
    running = Tail(child, folder)
    try:
        if ready:
            await until(lambda: "tail.ready" in running.said, 20, "it follows")
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
