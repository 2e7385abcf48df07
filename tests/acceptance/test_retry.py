"""A failed attempt is made again when it is due, not before, and given up when the schedule ends."""

import asyncio
from typing import Any

import pytest
from plain import Client, Post, Receiver, tenant_name, until

SCHEDULE = ["2s", "5s", "3s"]


async def test_three_failures_then_success_show_attempts_1_to_4_at_their_times(
    client: Client, receiver: Receiver
) -> None:
    tenant = tenant_name()

    def fails_three_times(post: Post) -> int:
        return 500 if len(receiver.at(post.path)) <= 3 else 204

    receiver.answers["/flaky"] = fails_three_times
    await client.follow("results")
    await client.register(tenant, "ep-1", receiver.url + "/flaky", retry={"schedule": SCHEDULE, "jitter": 0})
    await client.event(tenant, {"n": 1})
    await until(lambda: any(r["verdict"] == "delivered" for r in client.results(tenant)), 40, "delivered")
    results = client.results(tenant)
    assert [r["attempt"] for r in results] == [1, 2, 3, 4]
    assert [r["verdict"] for r in results] == ["retrying"] * 3 + ["delivered"]
    assert [post.headers["webhook-attempt"] for post in receiver.at("/flaky")] == ["1", "2", "3", "4"]
    for wait_ms, failed, following in zip((2_000, 5_000, 3_000), results, results[1:], strict=False):
        due_ms = failed["next_attempt_at_ms"]
        assert due_ms - failed["attempted_at_ms"] >= wait_ms
        late_ms = following["attempted_at_ms"] - due_ms
        assert 0 <= late_ms <= 1_000 + wait_ms * 0.02, f"late by {late_ms} ms after {wait_ms} ms"


async def test_a_delivery_given_up_leaves_a_dead_letter_with_the_same_bytes(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    receiver.answers["/dead"] = 500
    await client.follow("results", "dead-letters")
    await client.register(tenant, "ep-1", receiver.url + "/dead", retry={"schedule": ["1s"], "jitter": 0})
    await client.producer.send_and_wait(
        client.prefix + "events",
        b'{"type":"a.b","id":"x-1","data":{"n": 1.10, "big":123456789012345678901234567890}}',
        key=tenant.encode(),
    )
    await until(lambda: any(r["verdict"] == "dead" for r in client.results(tenant)), 30, "dead")
    assert [(r["attempt"], r["verdict"]) for r in client.results(tenant)] == [(1, "retrying"), (2, "dead")]
    await until(lambda: any(r.key.startswith(tenant.encode()) for r in client.records["dead-letters"]), 10, "letter")
    letter = next(r for r in client.records["dead-letters"] if r.key.startswith(tenant.encode()))
    assert letter.value == b'{"n": 1.10, "big":123456789012345678901234567890}'
    headers = dict(letter.headers)
    assert headers["event-id"] == b"x-1"
    assert headers["event-type"] == b"a.b"
    assert headers["error-kind"] == b"status"
    assert headers["status-code"] == b"500"
    assert headers["attempt"] == b"2"
    assert headers["delivery-id"].decode() == client.results(tenant)[0]["delivery_id"]


async def test_410_ends_the_delivery_and_disables_the_endpoint(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    receiver.answers["/gone"] = 410
    await client.follow("results")
    await client.register(tenant, "ep-1", receiver.url + "/gone")
    await client.event(tenant, 1)
    await until(lambda: bool(client.results(tenant)), 20, "a result")
    assert [(r["verdict"], r["error_kind"]) for r in client.results(tenant)] == [("dead", "gone")]
    await asyncio.sleep(1)
    await client.event(tenant, 2)
    await until(lambda: len(client.results(tenant)) == 2, 20, "a second result")
    assert client.results(tenant)[1]["verdict"] == "skipped"
    assert client.results(tenant)[1]["error_kind"] == "disabled"
    assert len(receiver.at("/gone")) == 1


@pytest.mark.parametrize("state", ["paused", "disabled", "pending", "gone"])
async def test_a_waiting_retry_is_skipped_when_the_endpoint_is_no_longer_active(
    client: Client, receiver: Receiver, state: str
) -> None:
    tenant = tenant_name()
    receiver.answers["/down"] = 503
    await client.follow("results")
    await client.register(tenant, "ep-1", receiver.url + "/down", retry={"schedule": ["2s"], "jitter": 0})
    await client.event(tenant, 1)
    await until(lambda: len(client.results(tenant)) == 1, 20, "a first result")
    change = {
        "paused": ("endpoint.paused", {}),
        "disabled": ("endpoint.disabled", {"reason": "operator"}),
        "gone": ("endpoint.unregistered", {}),
        "pending": (
            "endpoint.registered",
            {"url": "http://127.0.0.1:9/", "subscriptions": [], "secrets": [], "verification": "challenge"},
        ),
    }[state]
    await client.change(tenant, change[0], "ep-1", **change[1])

    def of_event() -> list[dict[str, Any]]:
        return [result for result in client.results(tenant) if result["event_type"] == "invoice.paid"]

    await until(lambda: len(of_event()) == 2, 20, "a second result")
    last = of_event()[1]
    assert (last["verdict"], last["error_kind"], last["attempt"]) == ("skipped", state, 0)
    assert len(receiver.posts) == 1


async def test_a_retry_goes_to_the_url_of_now(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    receiver.answers["/old"] = 500
    await client.follow("results")
    await client.register(tenant, "ep-1", receiver.url + "/old", retry={"schedule": ["2s"], "jitter": 0})
    await client.event(tenant, 1)
    await until(lambda: len(client.results(tenant)) == 1, 20, "a first result")
    await client.change(tenant, "endpoint.changed", "ep-1", url=receiver.url + "/new", verification="none")
    await until(lambda: len(client.results(tenant)) == 2, 20, "a second result")
    assert client.results(tenant)[1]["verdict"] == "delivered"
    assert len(receiver.at("/new")) == 1
