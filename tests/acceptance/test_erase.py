"""What is erased is delivered to nobody any more, and everybody says so; all else goes on."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import jwt
from plain import Client, Receiver, registration, until
from sealed import WAITS, ends
from stack import API_SECRET, Stack

ERASED = ("skipped", "erased", 0)


async def test_an_erased_event_is_skipped_and_all_others_are_delivered(
    sealing: Stack, plain: Client, apis: Callable[[], Any], receiver: Receiver
) -> None:
    api = await apis()
    receiver.answers["/in"] = 503
    for name, more in (
        ("ep", {}),
        ("batch", {"batch": {"max_items": 9, "max_wait_ms": 500}}),
        ("line", {"ordered_by": "type"}),
    ):
        await api.ok("POST", "/endpoints", {**registration(receiver, **WAITS, **more), "endpoint_id": name}, 201)
    for name in ("a", "b", "c", "d"):
        await api.ok("POST", "/events", {"type": "invoice.paid", "id": name, "data": {"of": name}}, 202)
    # In the line nobody goes before the first.
    await until(lambda: len(ends(plain, api.tenant)) == 9, 20, "all first attempts")
    receiver.answers["/in"] = 204
    assert await api.ok("DELETE", "/events/b") == {"tenant": api.tenant, "event_id": "b", "keys": 1}
    done = sealing.command("erase", "event", "--tenant", api.tenant, "--yes", "b", "c")
    told = f"erased   2 events of {api.tenant}: 1 key gave them up\n"
    assert (done.returncode, done.stdout) == (0, told), done.stderr
    assert await api.ok("DELETE", "/events/c") == {"tenant": api.tenant, "event_id": "c", "keys": 0}

    def have_ended() -> bool:
        found = ends(plain, api.tenant)
        return len(found) == 12 and not any(end[0] == "retrying" for end in found.values())

    await until(have_ended, 40, "an end of each")
    endpoints = ("batch", "ep", "line")
    assert ends(plain, api.tenant) == {
        **{(name, endpoint): ERASED for name in ("b", "c") for endpoint in endpoints},
        **{("a", endpoint): ("delivered", None, 2) for endpoint in endpoints},
        **{("d", endpoint): ("delivered", None, 1 if endpoint == "line" else 2) for endpoint in endpoints},
    }
    said = await api.call("POST", "/events", {"type": "invoice.paid", "id": "b", "data": 1})
    assert (said.status, said.json["detail"]) == (409, "the event b was erased; its id is not used again")
    explained = await api.ok("GET", "/events/b/explain")
    assert explained["erased"]
    assert {one["decision"] for one in explained["endpoints"]} == {"skipped"}
    assert "erased" not in await api.ok("GET", "/events/a/explain")
    shown = sealing.command("explain", "--tenant", api.tenant, "b", HOOKFOLD_URL=api.url)
    assert "its data was erased" in shown.stdout, shown.stderr
    await plain.event(api.tenant, 1, id="b-2")
    await until(lambda: ("b-2", "ep") in ends(plain, api.tenant), 20, "an event after it")


async def test_an_erased_tenant_has_nothing_left_to_be_delivered_and_begins_anew(
    sealing: Stack, plain: Client, apis: Callable[[], Any], receiver: Receiver
) -> None:
    api, other = await apis(), await apis()
    receiver.answers["/in"] = 503
    for one in (api, other):
        await one.ok("POST", "/endpoints", {**registration(receiver, **WAITS), "endpoint_id": "ep"}, 201)
        receiver.answers["/ok"] = 204
        given = {**registration(receiver), "endpoint_id": "ok", "url": receiver.url + "/ok"}
        given["subscriptions"] = [{"event_types": ["invoice.*"], "filter": {"data": {"n": 1}}}]
        await one.ok("POST", "/endpoints", given, 201)
        await one.ok("POST", "/events", {"type": "invoice.paid", "id": "old", "data": {"n": 1}}, 202)
    await until(lambda: all(len(ends(plain, one.tenant)) == 2 for one in (api, other)), 20, "first attempts")
    listed = await api.ok("GET", "/deliveries?endpoint_id=ok")
    sealing.stop("router")
    for one in (api, other):
        await one.ok("POST", "/events", {"type": "invoice.paid", "id": "unrouted", "data": {"n": 1}}, 202)
        await plain.event(one.tenant, {"n": 1}, id="in-the-clear")
    receiver.answers["/in"] = 204
    done = await asyncio.to_thread(sealing.command, "erase", "tenant", api.tenant, "--yes")
    assert (done.returncode, done.stdout) == (0, f"erased   all data of {api.tenant}: 1 key dropped\n"), done.stderr
    assert "in the clear" in done.stderr
    await api.ok("POST", "/events", {"type": "invoice.paid", "id": "new", "data": {"n": 1}}, 202)
    sealing.start("router")
    await asyncio.to_thread(sealing.wait_ready, "router")

    def all_ended(tenant: str, count: int) -> bool:
        found = ends(plain, tenant)
        return len(found) == count and not any(end[0] == "retrying" for end in found.values())

    await until(lambda: all_ended(api.tenant, 8) and all_ended(other.tenant, 6), 40, "an end of everything")
    delivered = ("delivered", None, 1)
    assert ends(plain, api.tenant) == {
        ("old", "ok"): delivered,
        ("old", "ep"): ERASED,
        **{(name, endpoint): ERASED for name in ("unrouted", "in-the-clear") for endpoint in ("ok", "ep")},
        ("new", "ok"): delivered,
        ("new", "ep"): delivered,
    }
    assert {end[0] for end in ends(plain, other.tenant).values()} == {"delivered"}
    # Nothing of before comes back: not as a retry, not as a replay.
    posts = len(receiver.posts)
    said = await api.call("POST", f"/deliveries/{listed['items'][0]['delivery_id']}/retry")
    assert (said.status, said.json["detail"]) == (409, "the event was erased; there is nothing to be delivered")
    for name in ("old", "unrouted", "in-the-clear"):
        assert (await api.ok("GET", f"/events/{name}/explain"))["erased"]
    replay = await api.ok("POST", "/endpoints/ok/replay", {"since_ms": 0}, 202)

    def replayed() -> dict[str, str]:
        mine = [one for one in plain.results(api.tenant) if one.get("replay_id") == replay["replay_id"]]
        return {one["event_id"]: one["verdict"] for one in mine}

    await until(lambda: len(replayed()) == 4, 20, "a result of each that is replayed")
    assert replayed() == {"old": "skipped", "unrouted": "skipped", "in-the-clear": "skipped", "new": "delivered"}
    assert len(receiver.posts) == posts + 1
    tried = sealing.command("what-if", "--tenant", api.tenant, "ok", "--event-type", "nothing")
    # The failing receiver was an event, too.
    assert any(f"; {count} were erased, and passed over\n" in tried.stderr for count in (3, 4)), tried.stderr


def test_nothing_is_erased_that_nobody_has_said_yes_to(sealing: Stack) -> None:
    for words in (("tenant", "acme"), ("event", "--tenant", "acme", "e-1")):
        done = sealing.command("erase", *words)
        assert (done.returncode, done.stderr) == (2, "hookfold: --yes: needed where nobody can be asked\n")


async def test_a_token_erases_only_what_its_scope_allows(sealing: Stack, apis: Callable[[], Any]) -> None:
    api = await apis()

    def allowed(*scopes: str) -> str:
        claims = {"tenant": api.tenant, "scope": " ".join(scopes), "exp": int(time.time()) + 600}
        return f"Bearer {jwt.encode(claims, API_SECRET, 'HS256')}"

    assert (await api.call("DELETE", "/events/x", authorization=allowed("read"))).status == 403
    assert (await api.call("DELETE", "/events/x", authorization=allowed("write"))).status == 200
    assert (await api.call("DELETE", "/data", authorization=allowed("write", "publish"))).status == 403
    assert await api.ok("DELETE", "/data") == {"tenant": api.tenant, "keys": 1}
    assert await api.ok("DELETE", "/data") == {"tenant": api.tenant, "keys": 0}
