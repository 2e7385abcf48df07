"""Every receiver answers 500 until each delivery is given up: what an attempt costs, with the wait between two.

BENCH_FAILING says how many events (2,000), BENCH_SCHEDULE the waits (1s,1s,1s).
"""

import os

from tests.bench import offering
from tests.bench.offering import Offer, Way

EVENTS = int(os.environ.get("BENCH_FAILING", "2000"))
SCHEDULE = os.environ.get("BENCH_SCHEDULE", "1s,1s,1s")


async def run() -> bool:
    """Print the figures; True where they are verified."""
    attempts = len(SCHEDULE.split(",")) + 1
    way = Way(more={"HOOKFOLD_RETRY_SCHEDULE": SCHEDULE}, manner="fail", verdict="dead", attempts=attempts, warm=0)
    _, verified = await offering.run(f"failing, {attempts} attempts", Offer(EVENTS), way)
    return verified
