"""What third parties send: verified, in the log or not at all, and delivered like any other event."""

import asyncio
import base64
import gzip
import json
import time
from datetime import UTC, datetime
from typing import Any

import stripe
from plain import Api, Receiver, registration, until
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix
from third_party import SECRET, github, mac, slack

WHSEC = "whsec_" + base64.b64encode(b"k" * 32).decode()
#: Numbers that no float holds.
ITEM = b'{"type":"item.made","n":1.10,\n "big":123456789012345678901234567890}'


async def test_what_the_official_libraries_and_every_scheme_sign_is_in_the_log(
    api: Api, register: Any, log: Any
) -> None:
    now_s = int(time.time())
    body = b'{"id":"evt_1","type":"invoice.paid","event_id":"Ev1","event":{"type":"message"},"n":1.10}'
    when, text = datetime.fromtimestamp(now_s, UTC), body.decode()
    signed = {
        "standard": {
            "webhook-id": "msg_1", "webhook-timestamp": str(now_s),
            "webhook-signature": Webhook(WHSEC).sign("msg_1", when, text),
        },
        "svix": {
            "svix-id": "msg_2", "svix-timestamp": str(now_s), "svix-signature": Svix(WHSEC).sign("msg_2", when, text),
        },
        "github": github(body),
        "stripe": {
            "stripe-signature": f"t={now_s},v1="
            + stripe.WebhookSignature._compute_signature(f"{now_s}.{text}", SECRET)
        },
        "slack": slack(body, now_s),
        "shopify": {
            "x-shopify-hmac-sha256": base64.b64encode(mac(body)).decode(), "x-shopify-topic": "orders/create",
            "x-shopify-webhook-id": "w-1",
        },
        "hmac": {"x-sig": base64.b64encode(mac(body)).decode()},
        "api_key": {"x-api-key": SECRET},
        "bearer": {"authorization": f"Bearer {SECRET}"},
        "basic": {"authorization": "Basic " + base64.b64encode(b"ada:" + SECRET.encode()).decode()},
        "okta": {"authorization": SECRET},
    }  # fmt: skip
    more: dict[str, dict[str, Any]] = {
        "standard": {"secrets": [WHSEC]},
        "svix": {"secrets": [WHSEC], "scheme": "standard"},
        "hmac": {"header": "X-Sig", "encoding": "base64", "event_type": "$.event.type"},
        "basic": {"secrets": [f"ada:{SECRET}"]},
        "okta": {"items": {"as": "whole"}, "event_type": "okta.batch"},
    }
    for name, headers in signed.items():
        fields = more.get(name, {})
        scheme = fields.pop("scheme", name)
        source = await register(scheme, name, **fields)
        said = await source.send(body, headers)
        assert said.status == (200 if name in ("slack", "okta") else 202), (name, said)
        assert (said.raw == b"") is (name in ("slack", "okta"))
    found = {dict(record.headers)["ce_source"].decode(): record for record in await log(len(signed))}
    told = {name: {key: value.decode() for key, value in found[f"/in/{name}"].headers} for name in signed}
    types = {name: headers["ce_type"] for name, headers in told.items()}
    assert types == {
        "standard": "invoice.paid", "svix": "invoice.paid", "github": "github.push", "stripe": "invoice.paid",
        "slack": "message", "shopify": "orders.create", "hmac": "message", "api_key": "api_key", "bearer": "bearer",
        "basic": "basic", "okta": "okta.batch",
    }  # fmt: skip
    ids = {name: headers["ce_id"] for name, headers in told.items()}
    assert {name: ids[name] for name in ("standard", "svix", "github", "stripe", "slack", "shopify")} == {
        "standard": "msg_1", "svix": "msg_2", "github": "guid-1", "stripe": "evt_1", "slack": "Ev1", "shopify": "w-1",
    }  # fmt: skip
    assert all(record.value == body for record in found.values())
    assert all(headers["content-type"] == "application/json" for headers in told.values())


async def test_what_is_not_the_sources_is_refused_and_nothing_is_appended(api: Api, register: Any, log: Any) -> None:
    body, now_s = b'{"type":"a","id":"e"}', int(time.time())
    shop, chat, keyed = await register("github"), await register("slack"), await register("basic", secrets=["a:b"])
    signature = github(body)["x-hub-signature-256"]
    refused = [await shop.send(body, {})]
    refused += [await shop.send(body[:n] + b"X" + body[n + 1 :], github(body)) for n in range(len(body))]
    refused += [
        await shop.send(body, {"x-hub-signature-256": signature[:n] + "g" + signature[n + 1 :]})
        for n in range(0, 71, 7)
    ]
    refused += [await chat.send(body, slack(body, now_s + away)) for away in (-301, 400, -86_400)]
    refused += [await keyed.send(body, {"authorization": "Basic " + base64.b64encode(b"a:c").decode()})]
    assert {said.status for said in refused} == {401}
    assert {said.json["type"] for said in refused} == {"urn:hookfold:problem:unverified"}
    assert all(said.headers["content-type"].startswith("application/problem+json") for said in refused)
    assert refused[-1].headers["www-authenticate"].startswith("Basic ")
    assert not any(SECRET.encode() in said.raw for said in refused)
    # What is the source's, but no event.
    packed = gzip.compress(body)
    typed = await register("github", "typed", event_type="$.kind")
    others = [
        (await typed.send(body, github(body)), 422),
        (await typed.send(b"no", github(b"no")), 400),
        (await typed.send(b'{"kind":"hookfold.test"}', github(b'{"kind":"hookfold.test"}')), 422),
        (await shop.send(body, github(body, "x" * 257)), 422),
        (await shop.send(packed, {**github(packed), "content-encoding": "gzip"}), 415),
        (await shop.send(b" " * 1_048_577, github(b" " * 1_048_577)), 413),
    ]
    assert [said.status for said, _ in others] == [status for _, status in others]
    # And as large as may be.
    largest = b" " * 1_048_576
    assert (await shop.send(largest, github(largest))).status == 202
    (record,) = await log(1)
    assert record.value == largest


async def test_handshakes_are_answered(api: Api, register: Any, log: Any) -> None:
    chat, hooks = await register("slack"), await register("okta")
    body = b'{"token":"x","challenge":"3eZbrw1a","type":"url_verification"}'
    assert (await chat.send(body, slack(body, int(time.time())))).json == {"challenge": "3eZbrw1a"}
    assert (await chat.send(body, slack(body, 1))).status == 401
    asked = await hooks.send(b"", {"x-okta-verification-challenge": "Me_rShK8", "authorization": SECRET}, "GET")
    assert (asked.status, asked.json) == (200, {"verification": "Me_rShK8"})
    wrong = await chat.send(b"", {"x-okta-verification-challenge": "Me_rShK8"}, "GET")
    assert (wrong.status, wrong.headers["allow"]) == (405, "OPTIONS, POST")
    asks = {"webhook-request-origin": "emitter.example.com", "webhook-request-rate": "120"}
    granted = await hooks.send(b"", asks, "OPTIONS")
    assert granted.status == 200
    assert granted.headers["webhook-allowed-origin"] == "emitter.example.com"
    assert granted.headers["webhook-allowed-rate"] == "120"
    assert "POST" in granted.headers["allow"]
    await log(0)


async def test_a_batch_of_three_is_three_events_or_one_and_reaches_an_endpoint(
    api: Api, register: Any, receiver: Receiver
) -> None:
    await api.ok(
        "POST",
        "/endpoints",
        registration(
            receiver, endpoint_id="ep", payload={"format": "data"}, subscriptions=[{"event_types": ["item.*", "lot"]}]
        ),
        201,
    )
    body = b'{"id":"evt_9","list":[' + b" , ".join([ITEM] * 3) + b"]}"
    each = await register("stripe", "each", items={"path": "$.list", "as": "each"})
    whole = await register("github", "whole", items={"path": "$.list", "as": "whole"}, event_type="lot")
    at_s = int(time.time())
    signed = {"stripe-signature": f"t={at_s},v1={mac(b'%d.' % at_s + body).hex()}"}
    for _ in range(3):  # Sent again, as providers do, it is delivered once.
        said = await each.send(body, signed)
        assert (said.status, [one["id"] for one in said.json["items"]]) == (202, ["evt_9-0", "evt_9-1", "evt_9-2"])
        first = said.json["items"][0]["offset"]
        assert [one["offset"] for one in said.json["items"]] == [first, first + 1, first + 2]
        assert (await whole.send(body, github(body))).status == 202
    await api.ok("POST", "/events", {"type": "item.last", "id": "last", "data": 1}, 202)
    await until(lambda: any(post.body == b"1" for post in receiver.posts), 30, "the last delivery")
    await until(lambda: len(receiver.posts) >= 5, 30, "all of them")
    await asyncio.sleep(0.3)
    assert sorted(post.body for post in receiver.posts) == sorted([ITEM] * 3 + [body, b"1"])
    listed = (await api.ok("GET", "/deliveries"))["items"]
    assert sorted(item["event_id"] for item in listed) == ["evt_9-0", "evt_9-1", "evt_9-2", "guid-1", "last"]


async def test_a_batch_is_in_the_log_whole_or_not_at_all(api: Api, register: Any, log: Any) -> None:
    lot = await register("github", items={"path": "$", "as": "each"}, event_type="$.type")
    bad = b'[{"type":"a"},{"type":"b"},{"type":"hookfold.c"}]'
    assert (await lot.send(bad, github(bad))).status == 422
    many = json.dumps([{"type": "a"}] * 1001).encode()
    assert (await lot.send(many, github(many))).status == 413
    assert (await lot.send(b"[]", github(b"[]"))).json == {"items": []}
    large = json.dumps([{"type": "a", "pad": "x" * 100_000}] * 10).encode()
    assert (await lot.send(large, github(large))).status == 202
    found = await log(10)
    assert [record.offset - found[0].offset for record in found] == list(range(10))
