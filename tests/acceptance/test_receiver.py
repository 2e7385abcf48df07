"""`hookfold receiver`: what a user tries things with."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession
from plain import SECRET, Api, Client, deliveries, tenant_name, until
from stack import Stack, free_port

KEY = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
PUBLIC_KEY = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


class Tried:
    """The command, while it runs."""

    def __init__(self, port: int, shown: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._shown = shown

    def at(self, path: str) -> list[dict[str, Any]]:
        told = [json.loads(line) for line in self._shown.read_text().splitlines()]
        return [one for one in told if one["path"] == path]


@pytest.fixture
async def tried(stack: Stack, tmp_path: Path) -> AsyncIterator[Tried]:
    port, shown, said = free_port(), tmp_path / "shown", tmp_path / "said"
    words = ["receiver", "--port", str(port), "--json", "--secret", SECRET, "--secret", PUBLIC_KEY]
    with shown.open("wb") as out, said.open("wb") as err:
        child = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-m", "compose.cli", *words], env=stack.env, stdout=out, stderr=err
        )
    try:
        await until(lambda: "receiver.ready" in said.read_text(), 20, "ready")
        yield Tried(port, shown)
        child.terminate()
        assert await asyncio.to_thread(child.wait, 10) == 0
    finally:
        child.kill()
        child.wait()


async def test_it_answers_each_handshake_and_verifies_what_it_gets(
    tried: Tried, client: Client, make_api: Callable[..., Api]
) -> None:
    tenant = tenant_name()
    async with make_api(tenant, "write", "publish") as api:
        for method, secret in (("challenge", SECRET), ("okta", KEY), ("cloudevents", SECRET)):
            given = {"url": f"{tried.url}/{method}", "subscriptions": [{"event_types": ["*"]}], "secrets": [secret]}
            await api.ok("POST", "/endpoints", {**given, "endpoint_id": method, "verification": method}, 201)
        await deliveries(api, 3, "?verdict=delivered")
        await api.ok("POST", "/events", {"type": "a", "id": "e", "data": 1}, 202)
        await deliveries(api, 3, "?event_id=e&verdict=delivered")
    for method, verb, signed in (
        ("challenge", "POST", "yes"), ("okta", "GET", "unsigned"), ("cloudevents", "OPTIONS", "unsigned")
    ):  # fmt: skip
        first, second = tried.at(f"/{method}")
        assert (first["method"], first["verified"], first["status"]) == (verb, signed, 200)
        assert (second["method"], second["verified"], second["status"], second["attempt"]) == ("POST", "yes", 204, 1)


async def test_it_misbehaves_as_its_path_says(tried: Tried) -> None:
    async with ClientSession() as session:

        async def post(path: str) -> tuple[int, bytes]:
            async with session.post(tried.url + path, data=b"{}", headers={"webhook-signature": "v1,x"}) as answer:
                return answer.status, await answer.read()

        assert await post("/status/503") == (503, b"")
        began = asyncio.get_running_loop().time()
        assert (await post("/delay/400/status/410"))[0] == 410
        assert asyncio.get_running_loop().time() - began >= 0.4
        assert await post("/drip/2") == (200, b"..")
        with pytest.raises(ClientError):
            await post("/reset")
        assert (await post("/status/999/delay/x"))[0] == 204
        named = [[(await post(f"/{kind}/1"))[0] for _ in range(2)] for kind in ("flaky", "failing")]
        assert named == [[500, 204], [500, 500]]
    assert tried.at("/status/503")[0]["verified"] == "no"


def test_a_bad_secret_is_one_clear_line(stack: Stack) -> None:
    refused = stack.command("receiver", "--secret", "nonsense")
    assert (refused.returncode, "--secret: a secret begins with whsec_" in refused.stderr) == (2, True)
