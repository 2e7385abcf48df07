"""Fan-out: few events, each to many endpoints of its tenant.

BENCH_FANOUT_EVENTS says how many events (200), BENCH_FAN how many endpoints a tenant has (100).
"""

import os

from tests.bench import offering
from tests.bench.offering import Offer

EVENTS = int(os.environ.get("BENCH_FANOUT_EVENTS", "200"))
FAN = int(os.environ.get("BENCH_FAN", "100"))
TENANTS = 10


async def run() -> bool:
    """Print the figures; True where they are verified."""
    _, verified = await offering.run(f"fanout 1:{FAN}", Offer(EVENTS, TENANTS, FAN))
    return verified
