"""An endpoint is verified before its first event, by receivers as third parties write them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from plain import SECRET, Answer, Client, Post, Receiver, tenant_name, until
from standardwebhooks.webhooks import Webhook

QUICK = {"retry": {"schedule": ["1s"], "jitter": 0}, "timeout_ms": 1_000}


def own(post: Post) -> int | Answer:
    """A receiver of Standard Webhooks, that echoes the challenge."""
    told = Webhook(SECRET).verify(post.body, post.headers)
    return Answer(body=json.dumps({"challenge": told["challenge"]}).encode()) if "challenge" in told else 204


def own_as_text(post: Post) -> int | Answer:
    """The same, with the bare challenge."""
    told = json.loads(post.body)
    return Answer(body=told["challenge"].encode()) if "challenge" in told else 204


def okta(post: Post) -> int | Answer:
    """Okta's one-time verification, as its documentation shows it."""
    if post.method != "GET":
        return 204
    return Answer(body=json.dumps({"verification": post.headers["x-okta-verification-challenge"]}).encode())


def cloudevents(post: Post) -> int | Answer:
    """The abuse protection of CloudEvents web hooks, with a rate."""
    if post.method != "OPTIONS":
        return 204
    allowed = {"webhook-allowed-origin": post.headers["webhook-request-origin"], "webhook-allowed-rate": "120"}
    return Answer(200, b"", {**allowed, "allow": "OPTIONS, POST"})


async def register(client: Client, tenant: str, url: str, method: str, **fields: Any) -> None:
    await client.register(tenant, "ep", url, verification=method, **QUICK, **fields)


def state_of(client: Client, tenant: str) -> dict[str, Any]:
    mine = [record for record in client.records["endpoints"] if record.key == f"{tenant}/ep".encode()]
    return json.loads(mine[-1].value) if mine else {"state": None}


async def in_state(client: Client, tenant: str, state: str) -> dict[str, Any]:
    await until(
        lambda: state_of(client, tenant)["state"] == state, 30, f"{tenant} is {state}: {state_of(client, tenant)}"
    )
    return state_of(client, tenant)


def of_events(client: Client, tenant: str) -> list[dict[str, Any]]:
    return [result for result in client.results(tenant) if result["event_type"] != "hookfold.verification"]


def of_verification(client: Client, tenant: str) -> list[dict[str, Any]]:
    return [result for result in client.results(tenant) if result["event_type"] == "hookfold.verification"]


@pytest.mark.parametrize(
    ("method", "answer"), [("challenge", own), ("challenge", own_as_text), ("okta", okta), ("cloudevents", cloudevents)]
)
async def test_a_receiver_that_answers_is_verified_and_gets_its_events(
    client: Client, receiver: Receiver, method: str, answer: Callable[[Post], int | Answer]
) -> None:
    await client.follow("results", "endpoints", "subscriptions")
    tenant, receiver.answers["/in"] = tenant_name(), answer
    await register(client, tenant, receiver.url + "/in", method)
    state = await in_state(client, tenant, "active")
    assert state.get("allowed_rate_per_min") == (120 if method == "cloudevents" else None)
    await client.event(tenant, 1)
    await until(lambda: bool(of_events(client, tenant)), 20, "a result")
    assert [(result["verdict"], result["attempt"]) for result in client.results(tenant)] == [("delivered", 1)] * 2
    assert [post.method for post in receiver.at("/in")] == [
        {"okta": "GET", "cloudevents": "OPTIONS"}.get(method, "POST"),
        "POST",
    ]
    written = [json.loads(r.value) for r in client.records["subscriptions"] if r.key == tenant.encode()]
    assert [(change["type"], change.get("method")) for change in written[1:]] == [("endpoint.verified", method)]


def wrong(post: Post) -> int | Answer:
    return Answer(body=b'{"challenge": "guess", "verification": "guess"}', headers={"webhook-allowed-origin": "other"})


@pytest.mark.parametrize("method", ["challenge", "okta", "cloudevents"])
@pytest.mark.parametrize("how", ["wrong", "late", "not at all"])
async def test_one_that_does_not_is_given_up_and_its_events_are_skipped(
    client: Client, receiver: Receiver, method: str, how: str
) -> None:
    await client.follow("results", "endpoints", "dead-letters")
    tenant, path = tenant_name(), "/in"
    receiver.answers[path] = wrong
    if how == "late":
        receiver.answers[path] = {"challenge": own_as_text, "okta": okta, "cloudevents": cloudevents}[method]
        receiver.hold[path] = asyncio.Event()
    url = "http://127.0.0.1:9" if how == "not at all" else receiver.url
    await register(client, tenant, url + path, method)
    await client.event(tenant, 1)
    state = await in_state(client, tenant, "disabled")
    assert state["reason"] == "unverified"
    await client.event(tenant, 2)
    await until(lambda: len(of_events(client, tenant)) == 2, 20, "two results")
    assert [(r["verdict"], r["error_kind"], r["attempt"]) for r in of_events(client, tenant)] == [
        ("skipped", "pending", 0),
        ("skipped", "disabled", 0),
    ]
    kind = {"wrong": "protocol", "late": "timeout", "not at all": "refused"}[how]
    assert [(r["verdict"], r["error_kind"], r["attempt"]) for r in of_verification(client, tenant)] == [
        ("retrying", kind, 1),
        ("dead", kind, 2),
    ]
    assert not [record for record in client.records["dead-letters"] if record.key.startswith(tenant.encode())]
    for held in receiver.hold.values():
        held.set()


async def test_a_challenge_is_new_each_time_and_long(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    receiver.answers["/in"] = wrong
    await register(client, tenant, receiver.url + "/in", "challenge")
    await until(lambda: len(receiver.at("/in")) == 2, 20, "two attempts")
    challenges = {json.loads(post.body)["challenge"] for post in receiver.at("/in")}
    assert len(challenges) == 2
    assert min(map(len, challenges)) >= 22  # 128 bits in base64


async def test_a_literal_address_out_of_reach_is_not_asked(client: Client) -> None:
    await client.follow("results", "rejected")
    tenant = tenant_name()
    await register(client, tenant, "http://[::1]:9/in", "challenge")
    await until(lambda: any(r.key == tenant.encode() for r in client.records["rejected"]), 20, "rejected")
    assert client.results(tenant) == []


async def test_a_retry_waits_for_the_new_url_and_goes_there(client: Client, receiver: Receiver) -> None:
    await client.follow("results", "endpoints")
    tenant, released = tenant_name(), asyncio.Event()
    receiver.answers.update({"/old": lambda post: own(post) if b"challenge" in post.body else 500, "/new": own})
    await client.register(
        tenant, "ep", receiver.url + "/old", verification="challenge", retry={"schedule": ["1s", "1s"], "jitter": 0}
    )
    await in_state(client, tenant, "active")
    await client.event(tenant, 1)
    await until(lambda: bool(of_events(client, tenant)), 20, "a first result")
    receiver.hold["/new"] = released
    await client.change(tenant, "endpoint.changed", "ep", url=receiver.url + "/new")
    await in_state(client, tenant, "pending")
    await asyncio.sleep(2.0)  # longer than the retry's wait
    assert [result["verdict"] for result in of_events(client, tenant)] == ["retrying"]
    released.set()
    await until(lambda: len(of_events(client, tenant)) == 2, 20, "a second result")
    assert [(r["verdict"], r["attempt"]) for r in of_events(client, tenant)] == [("retrying", 1), ("delivered", 2)]
    assert len(receiver.at("/old")) == 2
    assert [b"challenge" in post.body for post in receiver.at("/new")] == [True, False]


async def test_the_old_url_serves_while_the_new_one_is_asked(client: Client, receiver: Receiver) -> None:
    await client.follow("results", "endpoints")
    tenant, released = tenant_name(), asyncio.Event()
    receiver.answers.update({"/old": own, "/new": own})
    receiver.hold["/new"] = released
    await register(client, tenant, receiver.url + "/old", "challenge", url_change="serve_old")
    await in_state(client, tenant, "active")
    await client.change(tenant, "endpoint.changed", "ep", url=receiver.url + "/new")
    await until(lambda: bool(receiver.begun("/new")), 20, "the new one is asked")
    await client.event(tenant, 1)
    await until(lambda: bool(of_events(client, tenant)), 20, "a result")
    released.set()
    await until(lambda: state_of(client, tenant).get("url", "").endswith("/new"), 20, "the new url")
    await client.event(tenant, 2)
    await until(lambda: len(of_events(client, tenant)) == 2, 20, "two results")
    assert [r["verdict"] for r in of_events(client, tenant)] == ["delivered", "delivered"]
    assert (len(receiver.at("/old")), len(receiver.at("/new"))) == (2, 2)


async def test_it_is_asked_again_on_request(client: Client, receiver: Receiver) -> None:
    await client.follow("endpoints")
    tenant = tenant_name()
    receiver.answers["/in"] = 500
    await register(client, tenant, receiver.url + "/in", "challenge")
    await in_state(client, tenant, "disabled")
    receiver.answers["/in"] = own
    await client.change(tenant, "endpoint.verification_requested", "ep")
    await in_state(client, tenant, "active")
