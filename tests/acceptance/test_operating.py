"""The README's HTTP examples as they stand there, and the operators' commands."""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plain import Answer, Api, Post, Receiver, tenant_name, until
from stack import Stack

ROOT = Path(__file__).parents[2]
#: The real one where there is one, and always the few options of it that the examples need.
CURLS = [*(["command curl"] if shutil.which("curl") else []), f'"{sys.executable}" "{ROOT}/tests/acceptance/curl.py"']


def echo(post: Post) -> int | Answer:
    told = json.loads(post.body)
    return Answer(body=told["challenge"].encode()) if "challenge" in told else 204


async def run(stack: Stack, *command: str, **env: str) -> tuple[int, str]:
    ran = await asyncio.create_subprocess_exec(
        *command, env={**stack.env, **env}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(ran.communicate(), 60)
    assert ran.returncode is not None
    return ran.returncode, out.decode()


def example(language: str, word: str, receiver: Receiver) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (text,) = (block for block in blocks if word in block)
    return str(text).replace("https://example.com/hooks", receiver.url + "/readme")


@pytest.mark.parametrize("curl", CURLS)
async def test_the_curl_examples_of_the_readme_work(
    stack: Stack, receiver: Receiver, make_api: Callable[..., Api], tmp_path: Path, curl: str
) -> None:
    receiver.answers["/readme"] = echo
    url = make_api("acme").url
    tenant = tenant_name()
    text = example("sh", "/rotate-secret", receiver).replace("http://127.0.0.1:8080", url).replace("acme", tenant)
    # A reader's pace: the handshake and the delivery have happened by the time that is read.
    text = text.replace("api GET ", "sleep 1; api GET ")
    script = tmp_path / "example.sh"
    functions = f'hookfold() {{ "{sys.executable}" -m compose.cli "$@"; }}\ncurl() {{ {curl} "$@"; }}\n'
    script.write_text(f"set -e\n{functions}{text}")
    status, out = await run(stack, "bash", str(script))
    assert status == 0, out
    answers = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert [one.get("state") for one in answers[:4]] == ["pending", "active", "paused", "active"]
    assert answers[0]["secret"].startswith("whsec_")
    assert answers[4]["rate_per_s"] == 50
    assert answers[6]["id"] == "order-7"
    assert [item["event_id"] for item in answers[7]["items"] if item["event_type"] == "order.made"] == ["order-7"]
    post = receiver.at("/readme")[-1]
    assert post.verify(answers[5]["secret"])["data"] == {"id": 7}


async def test_the_client_of_the_readme_works(
    stack: Stack, receiver: Receiver, make_api: Callable[..., Api], tmp_path: Path
) -> None:
    receiver.answers["/readme"] = echo
    tenant = tenant_name()
    api = make_api(tenant, "write", "publish")
    script = tmp_path / "example.py"
    script.write_text(example("python", "class Hookfold", receiver).replace("acme", tenant))
    status, out = await run(stack, sys.executable, str(script), HOOKFOLD_URL=api.url, HOOKFOLD_TOKEN=api.token)
    assert status == 0, out
    secret = out.split()[2]
    assert out.splitlines()[1] == "delivered [204]"
    assert receiver.at("/readme")[-1].verify(secret)["data"] == {"id": 8}


async def test_operators_see_and_change_what_is_there(
    stack: Stack, receiver: Receiver, make_api: Callable[..., Api]
) -> None:
    tenant = tenant_name()
    receiver.answers["/in"] = lambda post: 500 if int(post.headers["webhook-attempt"]) == 1 else 204

    async def hookfold(*words: str, status: int = 0) -> str:
        code, out = await run(
            stack, sys.executable, "-m", "compose.cli", *words, "--tenant", tenant, HOOKFOLD_URL=api.url, COLUMNS="200"
        )
        assert code == status, out
        return out

    async def lines(*words: str) -> list[Any]:
        return [json.loads(line) for line in (await hookfold(*words, "--json")).splitlines()]

    async with make_api(tenant, "write", "publish") as api:
        for name in ("one", "two"):
            given = {"url": receiver.url + "/in", "subscriptions": [{"event_types": ["invoice.*", "order"]}]}
            retry = {"schedule": ["1s"], "jitter": 0}
            await api.ok(
                "POST", "/endpoints", {**given, "endpoint_id": name, "verification": "none", "retry": retry}, 201
            )
        await api.ok("POST", "/events", {"type": "order", "id": "e-1", "data": 1}, 202)
        table = (await hookfold("endpoints", "list")).splitlines()
        assert table[0].split() == ["endpoint_id", "state", "reason", "since", "url", "event", "types"]
        assert [line.split()[:2] for line in table[1:]] == [["one", "active"], ["two", "active"]]
        assert "invoice.* order" in table[1]
        assert [one["endpoint_id"] for one in await lines("endpoints", "list")] == ["one", "two"]
        for verb, state in (("pause", "paused"), ("resume", "active"), ("disable", "disabled")):
            assert (await lines("endpoints", verb, "two"))[0]["state"] == state
        shown = await hookfold("endpoints", "show", "two")
        assert re.search(r"^state +disabled$", shown, re.MULTILINE)
        assert "whsec_" not in shown
        assert (await lines("endpoints", "rotate-secret", "two"))[0]["secret"].startswith("whsec_")
        await hookfold("endpoints", "unregister", "two")
        assert "There is no such thing: there is no endpoint two" in await hookfold(
            "endpoints", "show", "two", status=1
        )
        await until(lambda: len(receiver.at("/in")) >= 3, 20, "attempts")
        while not (found := await lines("deliveries", "list", "--endpoint", "one", "--verdict", "delivered")):
            await asyncio.sleep(0.1)
        assert [(one["event_id"], one["attempt"]) for one in found] == [("e-1", 2)]
        assert "e-1" in (await hookfold("deliveries", "list")).splitlines()[1]
        detail = (await hookfold("deliveries", "show", found[0]["delivery_id"])).splitlines()
        assert [line.split()[1:3] for line in detail[-2:]] == [["1", "retrying"], ["2", "delivered"]]
        assert (await lines("deliveries", "show", found[0]["delivery_id"]))[0]["verdict"] == "delivered"
    env = {"HOOKFOLD_URL": "http://127.0.0.1:9"}
    gone = stack.command("endpoints", "list", "--tenant", tenant, **env)
    assert (gone.returncode, "http://127.0.0.1:9 does not answer" in gone.stderr) == (70, True)
    nobody = stack.command(
        "endpoints", "list", "--tenant", tenant, HOOKFOLD_API_SECRET="", HOOKFOLD_DATA_DIR=os.devnull
    )
    assert (nobody.returncode, "HOOKFOLD_TOKEN: not set" in nobody.stderr) == (2, True)
