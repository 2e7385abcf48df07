"""Large events: what a delivery costs whose bytes count.

BENCH_LARGE says how many events (300), BENCH_LARGE_KB how large (900).
"""

import os

from tests.bench import offering
from tests.bench.offering import Offer, Way

EVENTS = int(os.environ.get("BENCH_LARGE", "300"))
SIZE_KB = int(os.environ.get("BENCH_LARGE_KB", "900"))
TENANTS = 50


async def run() -> bool:
    """Print the figures; True where they are verified."""
    offer = Offer(EVENTS, TENANTS, body="x" * (SIZE_KB * 1_000))
    figures, verified = await offering.run("large", offer, Way(warm=0))
    print(f"  {figures.count * SIZE_KB / 1_000 / figures.took_s:.0f} MB/s")
    return verified
