"""Who gets an event is decided by the subscriptions as they stood when the event was appended."""

from typing import Any

from plain import SECRET, Client, Receiver, tenant_name, until


async def test_an_event_right_after_a_registration_is_delivered_500_times_in_a_row(
    client: Client, receiver: Receiver
) -> None:
    await client.follow("results")
    run = tenant_name()
    for n in range(500):
        await client.register(f"{run}-{n}", "ep-1", receiver.url + "/in")
        await client.event(f"{run}-{n}", n)
    await until(lambda: len(client.results(run + "-0")) == 1, 30, "a first result")
    await until(
        lambda: sum(r.key.startswith(run.encode()) for r in client.records["results"]) >= 500, 60, "500 results"
    )
    verdicts = [client.results(f"{run}-{n}") for n in range(500)]
    assert [len(results) for results in verdicts] == [1] * 500
    assert {results[0]["verdict"] for results in verdicts} == {"delivered"}


async def test_an_event_right_after_an_unregistration_is_never_delivered(client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    run, marker = tenant_name(), tenant_name()
    for n in range(500):
        await client.register(f"{run}-{n}", "ep-1", receiver.url + "/in")
        await client.change(f"{run}-{n}", "endpoint.unregistered", "ep-1")
        await client.event(f"{run}-{n}", n)
    # Events of another tenant in every partition, later than all the others, tell when these have been judged.
    for n in range(40):
        await client.register(f"{marker}-{n}", "ep-1", receiver.url + "/marker")
        await client.event(f"{marker}-{n}", n)
    await until(lambda: len(receiver.at("/marker")) == 40, 60, "the markers")
    assert receiver.at("/in") == []


async def test_the_states_of_an_endpoint_decide_what_becomes_of_events(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")

    async def next_result(data: object) -> tuple[str, str | None]:
        seen = len(of_events())
        await client.event(tenant, data)
        await until(lambda: len(of_events()) == seen + 1, 20, f"a result for {data}")
        result = of_events()[-1]
        return result["verdict"], result.get("error_kind")

    def of_events() -> list[dict[str, Any]]:
        return [result for result in client.results(tenant) if result["event_type"] == "invoice.paid"]

    await client.register(tenant, "ep-1", receiver.url + "/in", verification="challenge")
    assert await next_result("pending") == ("skipped", "pending")
    await client.change(tenant, "endpoint.verified", "ep-1", method="operator")
    assert await next_result("active") == ("delivered", None)
    await client.change(tenant, "endpoint.paused", "ep-1", reason="holiday")
    assert await next_result("paused") == ("skipped", "paused")
    await client.change(tenant, "endpoint.resumed", "ep-1")
    assert await next_result("resumed") == ("delivered", None)
    await client.change(tenant, "endpoint.disabled", "ep-1", reason="operator")
    assert await next_result("disabled") == ("skipped", "disabled")


async def test_only_matching_event_types_reach_an_endpoint(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    await client.follow("results")
    patterns = {"exact": ["invoice.paid"], "one": ["invoice.*"], "deep": ["invoice.**"], "all": ["*"], "other": ["x.y"]}
    for endpoint_id, event_types in patterns.items():
        await client.register(
            tenant, endpoint_id, f"{receiver.url}/{endpoint_id}", subscriptions=[{"event_types": event_types}]
        )
    for kind in ("invoice.paid", "invoice.paid.late", "order.made"):
        await client.event(tenant, 0, kind)
    await until(lambda: len(client.results(tenant)) >= 7, 20, "seven results")
    got = {(r["endpoint_id"], r["event_type"]) for r in client.results(tenant)}
    assert got == {
        ("exact", "invoice.paid"),
        ("one", "invoice.paid"),
        ("deep", "invoice.paid"),
        ("deep", "invoice.paid.late"),
        ("all", "invoice.paid"),
        ("all", "invoice.paid.late"),
        ("all", "order.made"),
    }


async def test_both_secrets_sign_while_a_rotation_overlaps(client: Client, receiver: Receiver) -> None:
    tenant, new = tenant_name(), "whsec_" + "QUJD" * 11
    await client.register(tenant, "ep-1", receiver.url + "/in")
    await client.change(tenant, "secret.rotated", "ep-1", secret=new, overlap_ms=60_000)
    await client.event(tenant, 1)
    await until(lambda: len(receiver.at("/in")) == 1, 20, "a post")
    post = receiver.at("/in")[0]
    post.verify(SECRET)
    post.verify(new)


async def test_cloudevents_reach_the_receiver_with_their_bytes(client: Client, receiver: Receiver) -> None:
    tenant = tenant_name()
    for endpoint_id, payload in (("plain", "standard"), ("whole", "cloudevents"), ("raw", "data")):
        await client.register(tenant, endpoint_id, f"{receiver.url}/{endpoint_id}", payload={"format": payload})
    data = b'{"price": 1.10, "big": 123456789012345678901234567890}'
    await client.producer.send_and_wait(
        client.prefix + "events",
        data,
        key=tenant.encode(),
        headers=[
            ("ce_specversion", b"1.0"),
            ("ce_id", b"ce-1"),
            ("ce_type", b"invoice.paid"),
            ("ce_source", b"/billing"),
            ("content-type", b"application/json"),
            ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ],
    )
    await until(lambda: len(receiver.posts) == 3, 20, "three posts")
    for post in receiver.posts:
        post.verify()
        assert data in post.body
        assert post.headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert receiver.at("/raw")[0].body == data
    assert receiver.at("/whole")[0].headers["content-type"] == "application/cloudevents+json"
