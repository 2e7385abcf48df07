"""Events through the HTTP API: every encoding, and what is refused before it is in the log."""

import asyncio
import time

from plain import Api, Receiver, deliveries, registration

MANY = "application/cloudevents-batch+json"


async def test_what_cannot_be_read_is_the_callers_fault(api: Api) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    path = f"/v1/tenants/{api.tenant}/events"
    good = f"authorization: Bearer {api.token}".encode()
    plain = b"content-type: application/json"
    structured = b"content-type: application/cloudevents+json"
    event = b'{"type": "a", "specversion": "1.0"}'
    for headers, body, status in (
        ([b"authorization: Bearer \xff.a.b", plain], event, 401),
        ([good, plain, b"idempotency-key: \xff"], event, 422),
        ([good, structured, b"idempotency-key: \xff"], event, 422),
        ([good, b"ce-type: a", b"ce-id: 1", b"ce-subject: %ff"], event, 422),
        ([good, plain, b"content-encoding: gzip"], b"no gzip", 400),
        ([good, plain, b"expect: more"], event, 400),
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        length = f"content-length: {len(body)}".encode()
        head = [f"POST {path} HTTP/1.1".encode(), b"host: x", b"connection: close", length, *headers]
        writer.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
        said = (await asyncio.wait_for(reader.read(), 10)).decode()
        writer.close()
        assert said.startswith(f"HTTP/1.1 {status} "), (headers, said)
        assert "application/problem+json" in said


async def test_an_event_that_the_router_would_refuse_is_refused(api: Api, receiver: Receiver) -> None:
    largest = 1_048_576 - len(b'{"id":"","type":"a","data":""}')
    for size, status in ((largest - 36, 202), (largest - 35, 413)):
        body = b'{"type":"a","data":"%b"}' % (b"x" * size)
        said = await api.call("POST", "/events", body, content_type="application/json")
        assert said.status == status, said.raw[:300]
    many = b"[" + b",".join([b"{}"] * 100_000) + b"]"
    began = time.monotonic()
    said = await api.call("POST", "/events", many, content_type="application/cloudevents-batch+json")
    assert said.status == 413
    assert time.monotonic() - began < 2


async def test_events_in_every_encoding_reach_their_receiver(api: Api, receiver: Receiver) -> None:
    await api.ok("POST", "/endpoints", registration(receiver, subscriptions=[{"event_types": ["**"]}]), 201)
    ce = {"specversion": "1.0", "source": "/shop", "type": "order.made"}
    binary = {"ce_id": "b-1", "ce_type": "csv", "ce_specversion": "1.0", "ce_source": "/caf%C3%A9"}
    structured = "application/cloudevents+json"
    published = [
        await api.ok("POST", "/events", b'{"type":"a","data":1.10,"id":"p-1"}', 202, content_type="application/json"),
        await api.ok("POST", "/events", {"type": "a", "data": 2}, 202, idempotency_key="key-1"),
        await api.ok("POST", "/events", {"type": "a", "data": 2}, 202, idempotency_key="key-1"),
        await api.ok("POST", "/events", {**ce, "id": "s-1", "data": 3}, 202, content_type=structured),
        await api.ok("POST", "/events", b"4,5", 202, content_type="text/csv", **binary),
    ]  # fmt: skip
    batch = [{**ce, "id": f"batch-{n}", "data": n} for n in range(3)]
    answer = await api.ok("POST", "/events", batch, 202, content_type=MANY)
    ids = [one["id"] for one in (*published, *answer["items"])]
    assert ids == ["p-1", "key-1", "key-1", "s-1", "b-1", "batch-0", "batch-1", "batch-2"]
    assert published[1]["partition"] == published[2]["partition"]
    assert published[1]["offset"] < published[2]["offset"]
    found = await deliveries(api, 7)
    assert sorted(one["event_id"] for one in found) == sorted(set(ids))
    bodies = {post.body for post in receiver.at("/in")}
    assert any(b'"data":1.10' in body for body in bodies)
    assert any(b'"data_base64":"NCw1"' in body for body in bodies)
    refused = await api.call(
        "POST", "/events", [batch[0], {"id": "x"}], content_type="application/cloudevents-batch+json"
    )
    assert (refused.status, refused.json["detail"]) == (422, "event 2: the event's specversion is not 1.0")
