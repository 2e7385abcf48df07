"""How long a delivery takes where nothing else is to be done.

BENCH_LATENCY_RATE says how many events a second (50), BENCH_LATENCY_S for how long (30).
"""

import asyncio
import os
import time

from tests.bench import hops, offering, system
from tests.bench.receiving import receiving
from tests.bench.steady import Steady
from tests.bench.tallying import tallying

RATE = float(os.environ.get("BENCH_LATENCY_RATE", "50"))
LENGTH_S = float(os.environ.get("BENCH_LATENCY_S", "30"))
ENDPOINTS = [(f"t{number}", f"e{number}") for number in range(50)]
#: Each endpoint has its connection then, and the broker has compiled most of what it needs.
WARM_S = 60.0
GOALS_MS = (10.0, 30.0)


async def run() -> bool:
    """Print the figures; True where they are verified and the goals are met."""
    with receiving(1) as receiver:
        async with (
            system.running(optimized=True) as stack,
            tallying(stack) as tally,
            hops.following(stack) as followed,
            system.producing(stack, linger_ms=0) as producer,
        ):
            load, lanes = Steady(producer, ENDPOINTS, RATE), hops.Lanes(stack)
            await load.register(receiver)
            await asyncio.sleep(3.0)
            async with load.sending():
                await asyncio.sleep(WARM_S)
                await lanes.begin()
                began, before = time.time(), stack.cpu_s()
                await asyncio.sleep(LENGTH_S)
                ended, spent = time.time(), stack.cpu_s() - before
                await lanes.show(round(LENGTH_S * RATE))
            await asyncio.sleep(offering.LATE_S)
            arrivals, rss = await receiver.arrivals(), stack.rss()
    print(f"latency, {RATE:.0f} events/s to {len(ENDPOINTS)} endpoints for {LENGTH_S:.0f} s")
    waits = load.waits(arrivals, began, ended)
    offering.Figures(spent, rss, ended - began, len(waits), system.load_average()).show()
    measured = [one for one in arrivals if began <= one.sent_s < ended]
    offering.show_times(load.sent_s, tally, measured)
    followed.show(load.sent_s, measured)
    p50, p99 = (system.percentile([wait * 1_000 for wait in waits], share) for share in (0.5, 0.99))
    met = p50 <= GOALS_MS[0] and p99 <= GOALS_MS[1]
    goals = "p50 {:.0f}, p99 {:.0f} ms".format(*GOALS_MS)
    print(f"  publish to POST: p50 {p50:.1f}, p99 {p99:.1f} ms (goal {goals}): {'met' if met else 'not met'}")
    return load.verify(tally, arrivals) and met
