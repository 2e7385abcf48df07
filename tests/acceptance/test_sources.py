"""Sources are registered by the API or through Kafka, each tenant's its own, and their secrets are shown to nobody."""

import asyncio
import base64
import json
import re
import sys
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from typing import Any

from plain import Api, Client, tenant_name, until
from stack import Stack
from third_party import SECRET, Source, github


async def test_an_unknown_tenant_is_not_told_from_an_unknown_source(api: Api, register: Any) -> None:
    await register("github")
    said = []
    for method in ("POST", "GET", "OPTIONS"):
        answers = [
            await api.call(method, path, b"{}" if method == "POST" else None, authorization="")
            for path in (f"//in/{api.tenant}/other", f"//in/{tenant_name()}/github", f"//in/{tenant_name()}/a%2Fb")
        ]
        assert [one.status for one in answers] == [404] * 3
        said += [one.raw for one in answers]
    assert len(set(said)) == 1
    assert (await api.call("PUT", f"//in/{api.tenant}/github", b"{}")).status == 405


async def test_two_tenants_sources_of_the_same_name_have_nothing_in_common(
    register: Any, make_api: Callable[..., Api], log: Any
) -> None:
    mine, body = await register("github"), b"{}"
    async with make_api(tenant_name(), "write") as other:
        await other.ok("PUT", "/sources/github", {"scheme": "github", "secrets": ["another"]}, 201)
        theirs = Source(other, "github")
        assert (await theirs.send(body, github(body))).status == 401
        assert (await mine.send(body, github(body))).status == 202
        assert [item["tenant"] for item in (await other.ok("GET", "/sources"))["items"]] == [other.tenant]
        assert (await other.call("DELETE", "/sources/github")).status == 204
        assert (await mine.send(body, github(body, "guid-2"))).status == 202
    await log(2)


async def test_sources_are_listed_replaced_and_unregistered_and_no_secret_is_shown(api: Api, register: Any) -> None:
    shop = await register("github", "b", description="the shop")
    shown = await api.ok("GET", "/sources/b")
    assert (shown["path"], shown["secret_count"]) == (f"/in/{api.tenant}/b", 1)
    assert "secrets" not in shown
    made = await api.ok("PUT", "/sources/a", {"scheme": "standard"}, 201)
    assert made["secret"].startswith("whsec_")
    page = await api.ok("GET", "/sources?limit=1")
    assert [item["source_id"] for item in page["items"]] == ["a"]
    rest = await api.ok("GET", f"/sources?cursor={page['next_cursor']}")
    assert ([item["source_id"] for item in rest["items"]], rest["next_cursor"]) == (["b"], None)
    # A new secret beside the old one, then alone.
    body = b"{}"
    for secrets, status in (([SECRET, "the next"], 202), (["the next"], 401)):
        replaced = await api.ok("PUT", "/sources/b", {"scheme": "github", "secrets": secrets}, 200)
        assert (replaced["secret_count"], "secret" in replaced, "description" in replaced) == (
            len(secrets),
            False,
            False,
        )
        assert (await shop.send(body, github(body))).status == status
    assert (await api.call("DELETE", "/sources/b")).status == 204
    assert [(await api.call(verb, "/sources/b")).status for verb in ("GET", "DELETE")] == [404, 404]
    assert (await shop.send(body, github(body))).status == 404
    for wrong in ({"scheme": "github"}, {"scheme": "okta"}, {"scheme": "basic", "secrets": ["x"]}, {"scheme": "no"}):
        assert (await api.call("PUT", "/sources/b", wrong)).status == 422


async def test_a_source_through_kafka_is_one_and_a_wrong_one_is_rejected(api: Api, client: Client, log: Any) -> None:
    tenant = api.tenant.encode()
    await client.follow("rejected")

    async def change(**fields: Any) -> None:
        value = json.dumps({"type": "source.registered", "source_id": "s", "scheme": "github", **fields}).encode()
        await client.producer.send_and_wait(client.prefix + "subscriptions", value, key=tenant)

    def rejected() -> list[str]:
        return [dict(r.headers)["rejected-reason"].decode() for r in client.records["rejected"] if r.key == tenant]

    await change(secrets=[SECRET])
    await change(secrets=["another"], header="x-sig")
    await change(type="source.unregistered", source_id="never-there")
    await change(secrets=[])
    await until(lambda: len(rejected()) >= 2, 20, "what is rejected")
    assert rejected()[0] == "header: is for api_key and hmac only"
    assert "secrets" in rejected()[1]
    end = time.monotonic() + 10
    while (await api.call("GET", "/sources/s")).status != 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    source = Source(api, "s")
    assert (await source.send(b"{}", github(b"{}"))).status == 202
    await log(1)
    # The router has no error of it: it goes on with what comes after.
    assert len(rejected()) == 2


async def test_sources_on_the_terminal(api: Api, stack: Stack) -> None:
    seal_keys = f"k:{base64.b64encode(b'k' * 32).decode()}"

    async def hookfold(*words: str, given: bytes = b"") -> str:
        ran = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "compose.cli", *words,
            env={**stack.env, "HOOKFOLD_URL": api.url, "HOOKFOLD_SEAL_KEYS": seal_keys},
            stdin=PIPE, stdout=PIPE, stderr=STDOUT,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(ran.communicate(given), 60)
        assert ran.returncode == 0, out
        return out.decode()

    own = ("--tenant", api.tenant)
    words = ("sources", "register", *own, "--scheme", "github", "--event-type", "$.kind", "--items", "$.list", "shop")
    made = await hookfold(*words, given=f"{SECRET}\nanother\n".encode())
    assert re.search(r"^secret_count +2$", made, re.MULTILINE)
    assert SECRET not in made
    shown = json.loads(await hookfold("sources", "show", *own, "--json", "shop"))
    assert (shown["event_type"], shown["items"]) == ("$.kind", {"path": "$.list", "as": "each"})
    generated = json.loads(await hookfold("sources", "register", *own, "--json", "--scheme", "bearer", "tools"))
    said = await Source(api, "tools").send(b"{}", {"authorization": f"Bearer {generated['secret']}"})
    assert said.status == 202
    table = (await hookfold("sources", "list", *own)).splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["shop", "github"], ["tools", "bearer"]]
    await hookfold("sources", "unregister", *own, "shop")
    assert (await api.call("GET", "/sources/shop")).status == 404
    sealed = await hookfold("seal", *own, "--source", "shop", given=b"secret\n")
    assert sealed.startswith("sealed:e.k.")
