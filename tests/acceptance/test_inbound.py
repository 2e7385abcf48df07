"""What third parties send: verified, in the log or not at all, and delivered like any other event."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe
from plain import Api, Client, Receiver, registration, tenant_name, until
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix

WHSEC = "whsec_" + base64.b64encode(b"k" * 32).decode()
SECRET = "a secret of the third party"
#: Numbers that no float holds.
ITEM = b'{"type":"item.made","n":1.10,\n "big":123456789012345678901234567890}'


def mac(body: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).digest()


def github(body: bytes, delivery: str = "guid-1") -> dict[str, str]:
    return {
        "x-hub-signature-256": "sha256=" + mac(body).hex(), "x-github-delivery": delivery, "x-github-event": "push",
    }  # fmt: skip


def slack(body: bytes, at_s: int) -> dict[str, str]:
    signature = "v0=" + mac(b"v0:%d:" % at_s + body).hex()
    return {"x-slack-signature": signature, "x-slack-request-timestamp": str(at_s)}


class Source:
    """A third party: it knows a tenant's URL, and no token."""

    def __init__(self, api: Api, source_id: str) -> None:
        self._api = Api(api.url, "", api.tenant)
        self._api._session = api._session
        self._path = f"//in/{api.tenant}/{source_id}"

    async def send(self, body: bytes, headers: dict[str, str], method: str = "POST") -> Any:
        named = {"content-type": "application/json", **headers} if method == "POST" else headers
        return await self._api.call(method, self._path, body if method == "POST" else None, **named)


@pytest.fixture
async def register(api: Api) -> Callable[..., Any]:
    async def put(scheme: str, source_id: str | None = None, **fields: Any) -> Source:
        await api.ok("PUT", f"/sources/{source_id or scheme}", {"scheme": scheme, "secrets": [SECRET], **fields}, 201)
        return Source(api, source_id or scheme)

    return put


@pytest.fixture
async def log(client: Client, api: Api) -> Callable[..., Any]:
    """The tenant's events in the log, as soon as there are so many."""
    await client.follow("events")

    async def read(count: int) -> list[Any]:
        def mine() -> list[Any]:
            return [record for record in client.records["events"] if record.key == api.tenant.encode()]

        # What comes before the last one in its partition has come as well.
        await api.ok("POST", "/events", {"type": "end", "data": None}, 202)
        await until(lambda: any(b'"end"' in record.value for record in mine()), 20, "the last event")
        found = [record for record in mine() if b'"end"' not in record.value]
        assert len(found) == count, found
        return found

    return read


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
