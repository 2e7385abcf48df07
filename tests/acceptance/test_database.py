"""The README's consumer into a database, as it stands there."""

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from plain import Client, Receiver, tenant_name, until
from stack import Stack

ROOT = Path(__file__).parents[2]


async def test_the_database_of_the_readme_has_each_result_once_although_it_is_killed_and_reads_again(
    stack: Stack, client: Client, receiver: Receiver, tmp_path: Path
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (text,) = (block for block in blocks if "sqlite3" in block)
    text = text.replace("hookfold.results", f"{stack.prefix}results").replace("results-to-", f"{stack.prefix}first-")
    tenant = tenant_name()
    receiver.answers["/in"] = lambda post: 503 if post.headers["webhook-attempt"] == "1" else 204
    await client.register(tenant, "ep", receiver.url + "/in", retry={"schedule": ["1s"], "jitter": 0})

    def rows() -> Counter[tuple[str, int]]:
        with contextlib.suppress(sqlite3.OperationalError):  # there is no table yet
            found = [json.loads(result) for (result,) in select(tmp_path, "SELECT result FROM results")]
            return Counter((one["event_id"], one["attempt"]) for one in found if one["tenant"] == tenant)
        return Counter()

    async def run(script: str, wanted: set[tuple[str, int]]) -> None:
        running = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=stack.env)  # noqa: ASYNC220
        try:
            await until(lambda: wanted <= rows().keys(), 20, "its rows")
            assert running.poll() is None
        finally:
            running.kill()
            running.wait()

    await client.event(tenant, 1, id="one")
    await run(text, {("one", 1), ("one", 2)})
    # As if nothing had been committed before the kill.
    await client.event(tenant, 1, id="two")
    await run(text.replace("first-", "second-"), {("two", 1), ("two", 2)})
    assert rows() == Counter({(event, attempt): 1 for event in ("one", "two") for attempt in (1, 2)})
    (query,) = re.findall(r"`(SELECT .* FROM results .*?)`", (ROOT / "README.md").read_text())
    assert dict(select(tmp_path, query))["delivered"] >= 2


def select(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{folder}/results.db?mode=ro", uri=True)) as database:
        return list(database.execute(query))
