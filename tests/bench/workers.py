"""Saturated, with one and with more workers of router and egress (`--workers`).

BENCH_WORKERS says how many (`1,2`: a run each), BENCH_EVENTS how many events (20,000).
"""

import os

from tests.bench import offering, saturated
from tests.bench.offering import ONE_EACH, Offer, Way

WORKERS = [int(part) for part in os.environ.get("BENCH_WORKERS", "1,2").split(",")]


async def run() -> bool:
    """Print the figures; True where they are verified."""
    verified = True
    for count in WORKERS:
        way = Way(counts={**ONE_EACH, "router": count, "egress": count})
        _, one = await offering.run(f"workers, {count} of router and of egress", Offer(saturated.EVENTS), way)
        verified = verified and one
    return verified
