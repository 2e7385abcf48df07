"""A receiver that always fails gets as many attempts as its schedule says, whatever dies meanwhile."""

import asyncio

import pytest
from plain import Client, Receiver, tenant_name, until
from stack import SERVICES, Stack

EVENTS = 60
ROUNDS = 8


@pytest.mark.timeout(240)
async def test_three_retries_are_four_attempts_while_every_process_is_killed_every_few_seconds(
    alone: Stack, receiver: Receiver
) -> None:
    tenant = tenant_name()
    receiver.answers["/dead"] = 503
    async with Client(alone.kafka, alone.prefix) as client:
        await client.follow("results", "dead-letters")
        await client.register(
            tenant, "ep-1", receiver.url + "/dead", retry={"schedule": ["2s", "3s", "4s"], "jitter": 0}
        )
        sending = asyncio.create_task(_send(client, tenant))
        for _ in range(ROUNDS):
            await asyncio.sleep(4)
            for name in SERVICES:
                await asyncio.to_thread(alone.kill, name)
            alone.start(*SERVICES)
        await sending
        await until(lambda: sum(r["verdict"] == "dead" for r in client.results(tenant)) >= EVENTS, 90, "every end")
        await asyncio.sleep(3)
        attempts: dict[str, list[tuple[int, str]]] = {}
        for result in client.results(tenant):
            attempts.setdefault(result["event_id"], []).append((result["attempt"], result["verdict"]))
        expected = [(1, "retrying"), (2, "retrying"), (3, "retrying"), (4, "dead")]
        assert attempts == {f"e-{number}": expected for number in range(EVENTS)}
        letters = [record for record in client.records["dead-letters"] if record.key.startswith(tenant.encode())]
        assert len(letters) == EVENTS


async def _send(client: Client, tenant: str) -> None:
    for number in range(EVENTS):
        await client.event(tenant, number, id=f"e-{number}")
        await asyncio.sleep(0.4)
