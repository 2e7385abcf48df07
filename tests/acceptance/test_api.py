"""The whole life of an endpoint through the HTTP API, on the running stack."""

import asyncio
import json
import time
from typing import Any

import pytest
from plain import SECRET, Answer, Api, Client, Post, Receiver, deliveries, registration, until

FAR: dict[str, Any] = {"url": "https://a.example/", "subscriptions": []}


def echo(post: Post) -> int | Answer:
    told = json.loads(post.body)
    return Answer(body=json.dumps({"challenge": told["challenge"]}).encode()) if "challenge" in told else 204


async def in_state(api: Api, endpoint_id: str, state: str) -> dict[str, Any]:
    end = time.monotonic() + 20
    while (shown := await api.ok("GET", f"/endpoints/{endpoint_id}"))["state"] != state:
        assert time.monotonic() < end, shown
        await asyncio.sleep(0.05)
    return dict(shown)


async def test_from_registration_to_unregistration(api: Api, receiver: Receiver, client: Client) -> None:
    await client.follow("subscriptions")
    receiver.answers["/in"] = echo
    made = await api.ok("POST", "/endpoints", registration(receiver, verification="challenge"), 201)
    one, secret = f"/endpoints/{made['endpoint_id']}", made["secret"]
    assert secret.startswith("whsec_")
    assert (made["state"], made["tenant"]) == ("pending", api.tenant)
    shown = await in_state(api, made["endpoint_id"], "active")
    assert "secret" not in json.dumps(shown)
    published = await api.ok("POST", "/events", {"type": "invoice.paid", "data": {"total": 1}}, 202)
    (delivery,) = await deliveries(api, 1, f"?event_id={published['id']}")
    assert (delivery["verdict"], delivery["attempt"]) == ("delivered", 1)
    assert receiver.at("/in")[-1].verify(secret)["data"] == {"total": 1}
    assert (await api.ok("POST", one + "/pause", {"reason": "holiday"}))["reason"] == "holiday"
    await api.ok("POST", "/events", {"type": "invoice.paid", "id": "skipped", "data": 2}, 202)
    (skipped,) = await deliveries(api, 1, "?event_id=skipped")
    assert skipped["verdict"] == "skipped"
    since_ms = skipped["event_time_ms"]
    assert (await api.ok("POST", one + "/resume", {"deliver_since_ms": since_ms}))["state"] == "active"
    await deliveries(api, 1, "?event_id=skipped&verdict=delivered")
    detail = await api.ok("GET", f"/deliveries/{skipped['delivery_id']}")
    assert [(a["verdict"], a["attempt"], "replay_id" in a) for a in detail["attempts"]] == [
        ("skipped", 0, False),
        ("delivered", 1, True),
    ]
    rotated = await api.ok("POST", one + "/rotate-secret", {"overlap_ms": 60_000})
    trial = await api.ok("POST", one + "/test", None, 202)
    await deliveries(api, 1, f"?event_id={trial['event_id']}&verdict=delivered")
    for signing in (secret, rotated["secret"]):
        assert receiver.at("/in")[-1].verify(signing)["type"] == "hookfold.test"
    added = await api.ok("POST", one + "/subscriptions", {"event_types": ["order.*"], "filter": {"data": {"n": 1}}})
    assert len(added["subscriptions"]) == 2
    removed = await api.ok("DELETE", one + "/subscriptions", {"event_types": ["order.*"], "filter": {"data": {"n": 1}}})
    assert len(removed["subscriptions"]) == 1
    assert (await api.ok("POST", one + "/disable"))["state"] == "disabled"
    assert (await api.call("POST", one + "/test")).status == 409
    assert (await api.ok("POST", one + "/verify"))["state"] == "pending"
    await in_state(api, made["endpoint_id"], "active")
    assert (await api.call("DELETE", one)).status == 204
    assert [(await api.call(*call)).status for call in (("GET", one), ("DELETE", one), ("POST", one + "/pause"))] == [
        404
    ] * 3
    assert (await api.ok("GET", "/endpoints"))["items"] == []
    kinds = [json.loads(r.value)["type"] for r in client.records["subscriptions"] if r.key == api.tenant.encode()]
    assert kinds == [
        "endpoint.registered", "endpoint.verified", "endpoint.paused", "endpoint.resumed", "secret.rotated",
        "subscription.added", "subscription.removed", "endpoint.disabled", "endpoint.verification_requested",
        "endpoint.verified", "endpoint.unregistered",
    ]  # fmt: skip


async def test_a_change_may_depend_on_the_version_that_was_read(api: Api, receiver: Receiver) -> None:
    said = await api.call("POST", "/endpoints", registration(receiver, endpoint_id="ep", description="first"))
    etag = said.headers["etag"]
    assert said.json["endpoint_id"] == "ep"
    changed = await api.call("PATCH", "/endpoints/ep", {"description": "second"}, if_match=etag)
    assert (changed.status, changed.json["description"]) == (200, "second")
    assert changed.headers["etag"] != etag
    refused = await api.call("PATCH", "/endpoints/ep", {"description": "third"}, if_match=etag)
    assert (refused.status, refused.json["type"]) == (412, "urn:hookfold:problem:outdated")
    assert (await api.ok("PATCH", "/endpoints/ep", {"rate_per_s": 2.5}))["rate_per_s"] == 2.5
    assert (await api.ok("GET", "/endpoints/ep"))["description"] == "second"


async def test_what_was_given_is_shown_without_what_is_secret(api: Api, receiver: Receiver) -> None:
    key = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
    given = registration(
        receiver, endpoint_id="ep", secrets=[SECRET, key], headers={"x-key": "geheim"},
        auth={"kind": "basic", "username": "ada", "password": "geheim"},
        payload={"format": "data", "fields": ["data.n"]},
    )  # fmt: skip
    said = await api.call("POST", "/endpoints", given)
    assert said.status == 201
    for raw in (said.raw, (await api.call("GET", "/endpoints/ep")).raw, (await api.call("GET", "/endpoints")).raw):
        assert not any(secret.encode() in raw for secret in (SECRET, key, "geheim"))
    shown = await api.ok("GET", "/endpoints/ep")
    assert (shown["auth"], shown["header_names"]) == ({"kind": "basic", "username": "ada"}, ["x-key"])
    assert shown["public_keys"] == ["whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
    await api.ok(
        "POST",
        "/events",
        b'{"type": "invoice.paid", "data": {"n": 1.10, "more": 1}}',
        202,
        content_type="application/json",
    )
    await until(lambda: bool(receiver.at("/in")), 20, "a post")
    (post,) = receiver.at("/in")
    assert post.body == b'{"n":1.10}'
    assert [one.partition(",")[0] for one in post.headers["webhook-signature"].split(" ")] == ["v1", "v1a"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", "/endpoints", b"{", 400, "bad-request"),
        ("POST", "/endpoints", {}, 422, "invalid"),
        ("POST", "/endpoints", {"url": "https://10.0.0.1/", "subscriptions": []}, 422, "invalid"),
        ("POST", "/endpoints", {**FAR, "subscriptions": [{"event_types": ["a..b"]}]}, 422, "invalid"),
        ("POST", "/endpoints", {**FAR, "subscriptions": [{"event_types": ["a"], "filter": "id ="}]}, 422, "invalid"),
        ("POST", "/endpoints", {**FAR, "headers": {"host": "b"}}, 422, "invalid"),
        ("POST", "/endpoints", {**FAR, "secrets": ["geheim"]}, 422, "invalid"),
        ("POST", "/endpoints", {**FAR, "secrets": ["sealed:x"]}, 422, "invalid"),
        ("GET", "/endpoints/none", None, 404, "not-found"),
        ("PATCH", "/endpoints/none", {"description": "x"}, 404, "not-found"),
        ("DELETE", "/endpoints/none", None, 404, "not-found"),
        ("POST", "/endpoints/none/verify", None, 404, "not-found"),
        ("POST", "/endpoints/none/rotate-secret", None, 404, "not-found"),
        ("POST", "/endpoints/a%20b/pause", None, 404, "not-found"),
        ("PUT", "/endpoints", {}, 405, "method-not-allowed"),
        ("GET", "/endpoints?limit=0", None, 422, "invalid"),
        ("GET", "/endpoints?cursor=x", None, 422, "invalid"),
        ("GET", "/deliveries?verdict=lost", None, 422, "invalid"),
        ("GET", "/deliveries?cursor=W10", None, 422, "invalid"),
        ("GET", "/deliveries/none", None, 404, "not-found"),
        ("POST", "/events", {"data": 1}, 422, "invalid"),
        ("POST", "/events", {"type": "hookfold.verification"}, 422, "invalid"),
        ("POST", "/events", b"[]", 400, "bad-request"),
        ("GET", "/nothing", None, 404, "not-found"),
    ],
)  # fmt: skip
async def test_a_problem_has_its_type(api: Api, method: str, path: str, body: Any, status: int, kind: str) -> None:
    said = await api.call(method, path, body)
    assert (said.status, said.headers["content-type"].partition(";")[0]) == (status, "application/problem+json")
    assert (said.json["type"], said.json["status"]) == (f"urn:hookfold:problem:{kind}", status)
    assert b"geheim" not in said.raw


async def test_other_content_types_and_large_bodies_are_refused(api: Api, receiver: Receiver) -> None:
    assert (await api.call("POST", "/endpoints", b"<a/>", content_type="application/xml")).status == 415
    assert (await api.call("POST", "/events", b"a,b", content_type="text/csv")).status == 415
    large = json.dumps({"type": "a", "data": "x" * 1_100_000}).encode()
    assert (await api.call("POST", "/events", large, content_type="application/json")).status == 413


async def test_a_sealed_text_of_nobody_in_particular_is_not_opened_for_a_caller(api: Api, receiver: Receiver) -> None:
    given = registration(receiver, secrets=["sealed:a.k1.AAAA"])
    said = await api.call("POST", "/endpoints", given)
    assert (said.status, "through Kafka only" in said.json["detail"]) == (422, True)


async def test_lists_have_pages_and_filters(api: Api, receiver: Receiver) -> None:
    for number in range(5):
        await api.ok("POST", "/endpoints", registration(receiver, endpoint_id=f"ep-{number}"), 201)
    for number in range(3):
        await api.ok("POST", "/events", {"type": "invoice.paid", "id": f"e-{number}", "data": number}, 202)
    everything = await deliveries(api, 15)
    times = [(one["event_time_ms"], one["delivery_id"]) for one in everything]
    assert times == sorted(times, reverse=True)
    for path, key, count in (("/endpoints", "endpoint_id", 5), ("/deliveries", "delivery_id", 15)):
        seen: list[str] = []
        cursor = ""
        while True:
            page = await api.ok("GET", f"{path}?limit=2{cursor}")
            seen += [item[key] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = "&cursor=" + page["next_cursor"]
        assert len(seen) == len(set(seen)) == count
    assert len(await deliveries(api, 3, "?endpoint_id=ep-1")) == 3
    assert len(await deliveries(api, 5, "?event_id=e-1")) == 5
    middle = next(one["event_time_ms"] for one in everything if one["event_id"] == "e-1")
    since = await api.ok("GET", f"/deliveries?since_ms={middle}")
    before = await api.ok("GET", f"/deliveries?until_ms={middle}")
    assert len(since["items"]) + len(before["items"]) == 15
    assert {one["event_id"] for one in before["items"]} == {"e-0"}


async def test_it_describes_itself_without_the_internet(api: Api) -> None:
    document = await api.ok("GET", "//openapi.json")
    assert document["openapi"].startswith("3.1")
    page = await api.call("GET", "//docs")
    assert page.status == 200
    assert b"http" not in page.raw
    assert (await api.call("GET", "//docs/swagger-ui-bundle.js")).status == 200
    assert (await api.call("GET", "//docs/swagger-ui.css")).status == 200
    assert (await api.call("GET", "//docs/start.js")).status == 200
    assert (await api.call("GET", "//docs/package.json")).status == 404
    assert b"ready" in (await api.call("GET", "//readyz")).raw
    await api.ok("GET", "/endpoints")
    counted = (await api.call("GET", "//metrics")).raw.decode()
    assert 'hookfold_calls_total{call="GET /v1/tenants/{tenant}/endpoints",status="200"}' in counted
