"""Saturated, one event to one endpoint, and beside it the bare loop, which is the limit of what one could save.

BENCH_EVENTS says how many events (20,000).
"""

import os

from tests.bench import bare, offering
from tests.bench.offering import Offer

EVENTS = int(os.environ.get("BENCH_EVENTS", "20000"))


async def run() -> bool:
    """Print the figures; True where they are verified."""
    ours, verified = await offering.run("saturated 1:1", Offer(EVENTS))
    limit, as_well = await bare.measure(EVENTS)
    print(f"  egress to bare loop, CPU time: {ours.per_1000('egress') / limit.per_1000('loop'):.2f}")
    return verified and as_well
