"""What another filter would have done is what it does."""

import asyncio
import json
import random
from typing import Any

from plain import Client, Receiver, tenant_name, until
from stack import Stack

OLD = {"event_types": ["invoice.*"], "filter": {"data": {"n": {"$lt": 60}}}}
NEW = {"event_types": ["invoice.*", "user.joined"], "filter": {"data": {"n": {"$gte": 30}}}}


async def run(stack: Stack, tenant: str, endpoint_id: str, *words: str) -> tuple[list[dict[str, Any]], str]:
    told = ["what-if", "--tenant", tenant, "--hours", "1", "--json", endpoint_id]
    made = await asyncio.to_thread(stack.command, *told, *words)
    assert made.returncode == 0, made.stderr
    return [json.loads(line) for line in made.stdout.splitlines()], made.stderr


async def test_a_changed_filter_gives_the_difference_of_a_real_run(
    stack: Stack, client: Client, receiver: Receiver
) -> None:
    await client.follow("results")
    tenant, draw = tenant_name(), random.Random(3)
    await client.register(tenant, "old", receiver.url + "/old", subscriptions=[OLD])
    await client.register(tenant, "new", receiver.url + "/new", subscriptions=[NEW])
    await asyncio.sleep(0.01)
    for number in range(300):
        kind = draw.choice(("invoice.paid", "invoice.voided", "user.joined", "user.left"))
        await client.event(tenant, {"n": draw.randrange(100), "secret": number}, kind, id=f"e-{number}")
    await client.event(tenant, {"n": 45}, "invoice.paid", id="last")
    await until(lambda: sum(r["event_id"] == "last" for r in client.results(tenant)) == 2, 30, "the last results")
    await asyncio.sleep(1.0)
    got = {
        endpoint_id: {r["event_id"] for r in client.results(tenant) if r["endpoint_id"] == endpoint_id}
        for endpoint_id in ("old", "new")
    }
    words = [word for pattern in NEW["event_types"] for word in ("--event-type", pattern)]
    told, summary = await run(stack, tenant, "old", *words, "--filter", json.dumps(NEW["filter"]))
    more = {one["event_id"] for one in told if one["difference"] == "more"}
    fewer = {one["event_id"] for one in told if one["difference"] == "fewer"}
    assert (more, fewer) == (got["new"] - got["old"], got["old"] - got["new"])
    assert len(more) > 20
    assert len(fewer) > 20
    assert summary.startswith("301 events since ")
    assert f"{len(more)} more would have been delivered, {len(fewer)} fewer, 0 with another body" in summary
    # The endpoint's own event types stand where none are given.
    told, _ = await run(stack, tenant, "old", "--filter", json.dumps(OLD["filter"]))
    assert told == []


async def test_a_changed_payload_shows_both_bodies(stack: Stack, client: Client, receiver: Receiver) -> None:
    await client.follow("results")
    tenant = tenant_name()
    await client.register(tenant, "ep", receiver.url + "/ep")
    await asyncio.sleep(0.01)
    await client.event(tenant, {"n": 1, "card": "4111"}, id="e-1")
    await until(lambda: len(client.results(tenant)) == 1, 20, "a result")
    told, _ = await run(stack, tenant, "ep", "--field", "data.n")
    assert [(one["difference"], one["event_id"]) for one in told] == [("body", "e-1")]
    assert json.loads(told[0]["before"]) == receiver.at("/ep")[0].verify()
    assert json.loads(told[0]["after"])["data"] == {"n": 1}
    assert len(receiver.posts) == 1
    for words, line in (
        ([], "say what is to be tried"),
        (["--filter", "{"], "is not JSON"),
        (["--filter", "1 +"], "filter: "),
        (["--field", "x"], "is not a path"),
    ):
        refused = await asyncio.to_thread(stack.command, "what-if", "--tenant", tenant, "ep", *words)
        assert (refused.returncode, line in refused.stderr) == (2, True), refused.stderr
    nobody = await asyncio.to_thread(stack.command, "what-if", "--tenant", tenant, "nobody", "--field", "data.n")
    assert (nobody.returncode, "there is no endpoint nobody" in nobody.stderr) == (2, True)
