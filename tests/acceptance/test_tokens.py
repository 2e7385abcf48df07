"""A token reaches its own tenant and no further, and allows what its scope says."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from plain import Api, Receiver, tenant_name
from stack import Stack

#: Every call there is, with a body that would do something.
CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/endpoints", {"url": "https://a.example/", "subscriptions": [], "endpoint_id": "mine"}),
    ("GET", "/endpoints", None),
    ("GET", "/endpoints/ep", None),
    ("PATCH", "/endpoints/ep", {"description": "taken"}),
    ("DELETE", "/endpoints/ep", None),
    ("POST", "/endpoints/ep/verify", None),
    ("POST", "/endpoints/ep/pause", None),
    ("POST", "/endpoints/ep/resume", {"deliver_since_ms": 0}),
    ("POST", "/endpoints/ep/disable", None),
    ("POST", "/endpoints/ep/rotate-secret", None),
    ("POST", "/endpoints/ep/test", None),
    ("POST", "/endpoints/ep/subscriptions", {"event_types": ["**"]}),
    ("DELETE", "/endpoints/ep/subscriptions", {"event_types": ["*"]}),
    ("POST", "/events", {"type": "a", "data": 1}),
    ("PUT", "/sources/src", {"scheme": "github", "secrets": ["taken"]}),
    ("GET", "/sources", None),
    ("GET", "/sources/src", None),
    ("DELETE", "/sources/src", None),
    ("GET", "/deliveries", None),
    ("GET", "/deliveries?endpoint_id=ep", None),
    ("GET", "/deliveries/{delivery}", None),
    ("GET", "/events/known/explain", None),
    ("DELETE", "/events/known", None),
    ("DELETE", "/data", None),
    ("POST", "/deliveries/{delivery}/retry", None),
    ("POST", "/endpoints/ep/replay", {"since_ms": 0}),
    ("DELETE", "/endpoints/ep/replays/0-0", None),
]
#: Ids in these paths, as the document names them.
NAMED = {"/src": "/{source_id}", "/known": "/{event_id}", "/0-0": "/{replay_id}", "{delivery}": "{delivery_id}"}


@pytest.fixture
async def theirs(make_api: Callable[..., Api], receiver: Receiver) -> AsyncIterator[Api]:
    """A tenant with an endpoint and a delivery."""
    async with make_api(tenant_name(), "write", "publish") as api:
        given = {"url": receiver.url, "subscriptions": [{"event_types": ["*"]}], "verification": "none"}
        await api.ok("POST", "/endpoints", {**given, "endpoint_id": "ep"}, 201)
        await api.ok("PUT", "/sources/src", {"scheme": "bearer"}, 201)
        await api.ok("POST", "/events", {"type": "a", "id": "known", "data": 1}, 202)
        while not (await api.ok("GET", "/deliveries"))["items"]:
            await asyncio.sleep(0.05)
        yield api


def test_every_call_of_the_document_is_tried(stack: Stack, make_api: Callable[..., Api]) -> None:
    document = json.loads(stack.page("gateway", "/openapi.json")[1])
    described = {(verb.upper(), path) for path, item in document["paths"].items() for verb in item}
    tried = set()
    for verb, path, _ in CALLS:
        parts = path.partition("?")[0].replace("/ep", "/{endpoint_id}").replace("{endpoint_id}oints", "endpoints")
        for given, name in NAMED.items():
            parts = parts.replace(given, name)
        tried.add((verb, "/v1/tenants/{tenant}" + parts))
    assert described == tried


async def test_another_tenants_token_finds_nothing_and_cannot_tell_what_is_there(
    theirs: Api, make_api: Callable[..., Api]
) -> None:
    (delivery,) = (await theirs.ok("GET", "/deliveries"))["items"]
    before = [(await theirs.call("GET", path)).raw for path in ("/endpoints/ep", "/sources/src")]
    async with make_api(tenant_name(), "write", "publish") as other:
        own = other.tenant
        for verb, path, body in CALLS:
            path = path.format(delivery=delivery["delivery_id"])
            other.tenant = theirs.tenant
            there = await other.call(verb, path, body)
            other.tenant = tenant_name()
            nowhere = await other.call(verb, path, body)
            assert there.status == 404
            assert (there.status, there.raw) == (nowhere.status, nowhere.raw)
        # Under its own name it sees nothing of theirs either, ids known or not.
        other.tenant = own
        for verb, path, body in CALLS[1:]:
            if path != "/events" and verb != "PUT":
                said = await other.call(verb, path.format(delivery=delivery["delivery_id"]), body)
                assert said.status in (403, 404) or said.json.get("items", []) == []
                assert theirs.tenant.encode() not in said.raw
    assert [(await theirs.call("GET", path)).raw for path in ("/endpoints/ep", "/sources/src")] == before
    assert len((await theirs.ok("GET", "/deliveries"))["items"]) == 1


async def test_without_a_token_of_ours_there_is_nothing(
    theirs: Api, make_api: Callable[..., Api], make_token: Callable[..., str]
) -> None:
    other_secret = make_token(
        theirs.tenant, "write", HOOKFOLD_API_SECRET="another secret of more than thirty-two bytes"
    )
    good = make_token(theirs.tenant, "write")
    head, _, signature = good.split(".")
    claims = base64.urlsafe_b64encode(json.dumps({"scope": "admin"}).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    for token in ("", "x", other_secret, f"{head}.{claims}.{signature}", f"{none}.{claims}."):
        theirs.token = token
        for verb, path, body in CALLS:
            said = await theirs.call(verb, path.format(delivery="d"), body)
            assert (said.status, said.json["type"]) == (401, "urn:hookfold:problem:unauthorized")
            assert said.headers["www-authenticate"] == "Bearer"
    theirs.token = good
    assert (await theirs.call("GET", "/endpoints")).status == 200
    assert (await theirs.call("GET", "/endpoints", authorization=f"Basic {good}")).status == 401


async def test_a_scope_allows_what_it_says(theirs: Api, make_token: Callable[..., str]) -> None:
    needs = {"GET": "read", "POST": "write", "PUT": "write", "PATCH": "write", "DELETE": "write"}
    theirs.token = make_token(theirs.tenant, "publish")
    for verb, path, body in CALLS:
        said = await theirs.call(verb, path.format(delivery="d"), body)
        assert said.status == (202 if path == "/events" else 403)
    theirs.token = make_token(theirs.tenant, "read")
    for verb, path, body in CALLS:
        status = (await theirs.call(verb, path.format(delivery="d"), body)).status
        assert (status == 403) is (needs[verb] != "read")


async def test_an_admin_reaches_every_tenant_and_a_token_ends(
    theirs: Api, stack: Stack, make_token: Callable[..., str]
) -> None:
    theirs.token = make_token(None, "admin")
    assert (await theirs.ok("GET", "/endpoints/ep"))["tenant"] == theirs.tenant
    short = stack.command("token", "--tenant", theirs.tenant, "--scope", "read", "--expires", "1ms")
    theirs.token = short.stdout.strip()
    assert (await theirs.call("GET", "/endpoints")).status == 401


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--scope", "read"), "--tenant: needed for any scope but admin"),
        (("--scope", "read", "--tenant", "a/b"), "--tenant: 1 to 128 of A-Z a-z 0-9 _ -"),
        (("--scope", "read", "--tenant", "t", "--expires", "soon"), "--expires: 'soon' is not a duration"),
    ],
)
def test_a_token_that_cannot_be_made(stack: Stack, words: tuple[str, ...], line: str) -> None:
    refused = stack.command("token", *words)
    assert refused.returncode == 2
    assert line in refused.stderr


def test_nothing_is_signed_without_a_secret(stack: Stack) -> None:
    for command in (("token", "--tenant", "t", "--scope", "read"), ("gateway",)):
        refused = stack.command(*command, HOOKFOLD_API_SECRET="")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "HOOKFOLD_API_SECRET: not set" in refused.stderr
