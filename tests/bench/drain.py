"""A backlog: the router has written all deliveries before there is an egress; then the egress works them off.

Beside it the bare loop, with a backlog of its own.

BENCH_DRAIN says how many events (40,000).
"""

import asyncio
import os
import time
from dataclasses import replace

from tests.bench import bare, offering, system
from tests.bench.offering import TIMEOUT_S, Offer
from tests.bench.receiving import receiving
from tests.bench.system import System
from tests.bench.tallying import tallying

EVENTS = int(os.environ.get("BENCH_DRAIN", "40000"))
#: The first tenth is for starting.
WARM_SHARE = 10


async def written(stack: System, offer: Offer) -> None:
    """Wait until the router has written all deliveries, and end it."""
    until = time.monotonic() + TIMEOUT_S
    while await stack.total("router", "hookfold_events_total") < offer.events and time.monotonic() < until:
        await asyncio.sleep(0.2)
    await stack.stop("router")  # what it has judged is committed then


async def run() -> bool:
    """Print the figures; True where they are verified."""
    offer = Offer(EVENTS)
    with receiving(1) as receiver:
        async with (
            system.running(counts={"router": 1}) as stack,
            tallying(stack) as tally,
            system.producing(stack) as producer,
        ):
            await offer.register(stack, producer, receiver, "http")
            await offer.publish(producer)
            await written(stack, offer)
            await stack.start("egress")
            await stack.ready()
            warm = offer.deliveries // WARM_SHARE
            # By attempts, since those come before their results; the results of the first tenth count in full.
            while (made := await stack.total("egress", "hookfold_attempts_total")) < warm:
                await asyncio.sleep(0.02)
            figures = await offering.measured(stack, tally, offer.deliveries - len(tally.ended))
            figures = replace(figures, count=offer.deliveries - int(made))
            await asyncio.sleep(offering.LATE_S)
            arrivals = await receiver.arrivals()
    print(f"drain; {offer.deliveries} deliveries that were there before the egress, measured from {made:.0f} on")
    figures.show()
    verified = offering.verify(offer, tally, arrivals)
    limit, as_well = await bare.measure(EVENTS, backlog=True)
    print(f"  egress to bare loop, CPU time: {figures.per_1000('egress') / limit.per_1000('loop'):.2f}")
    return verified and as_well
