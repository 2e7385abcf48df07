"""What an endpoint got is replayed at a rate, while events for others, of its tenant and of others, go on.

BENCH_PAST says how many events are replayed (50,000), BENCH_REPLAY_RATE how many a second (150), BENCH_LIVE_RATE how
many live ones a second there are (100), BENCH_BEFORE_S how long these are measured before (30).
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from tests.bench import offering, system
from tests.bench.offering import Offer, spread
from tests.bench.receiver import Arrival
from tests.bench.receiving import receiving
from tests.bench.steady import Steady
from tests.bench.system import PREFIX
from tests.bench.tallying import Final, Tally, tallying

PAST = int(os.environ.get("BENCH_PAST", "50000"))
RATE = float(os.environ.get("BENCH_REPLAY_RATE", "150"))
LIVE_RATE = float(os.environ.get("BENCH_LIVE_RATE", "100"))
BEFORE_S = float(os.environ.get("BENCH_BEFORE_S", "30"))
#: Ten of the tenant whose past is replayed, thirty of others.
LIVE = [("t0" if number < 10 else f"t{number}", f"live{number}") for number in range(40)]
SETTLE_S = 10.0
#: Of its limit at least and at most, and how much longer the live ones' p99 may be.
GOALS, GOAL_P99 = (0.95, 1.005), 1.5


async def request(producer: AIOKafkaProducer) -> None:
    """Ask for all of the endpoint's past."""
    change = {"type": "endpoint.replay_requested", "endpoint_id": "e0", "since_ms": 0, "rate_per_s": RATE}
    await producer.send_and_wait(PREFIX + "subscriptions", json.dumps(change).encode(), key=b"t0")


def rate_of(times: Sequence[float]) -> tuple[float, float]:
    """POSTs a second over all whole seconds from the second on, and over the fastest ten of them.

    The first may hold one second's worth more: that is what the bucket is for.
    """
    began, seconds = times[0] + 1, max(1, int(times[-1] - times[0] - 1))
    each = Counter(int(one - began) for one in times if one >= began)
    counts = [each[second] for second in range(seconds)]
    window = min(10, seconds)
    fastest = max(sum(counts[at : at + window]) for at in range(seconds - window + 1))
    return sum(counts) / seconds, fastest / window


def verify(offer: Offer, tally: Tally, arrivals: Sequence[Arrival]) -> bool:
    """Whether each past event has come once by itself, and once as a replay."""
    posts = Counter((one.number, one.replayed) for one in arrivals)
    whole = sum(
        posts[number, replayed] == 1 and tally.finals[Final(number, "e0", "delivered", replayed)] == 1
        for number in range(offer.events)
        for replayed in (False, True)
    )
    results = sum(count for one, count in tally.finals.items() if one.number < offer.events) - whole
    surplus = sum(one.number < offer.events for one in arrivals) - whole
    print(
        f"  verified: {whole} of {offer.events} + {offer.events} past and replayed deliveries have come once and have "
        f"one final result; {results} other results, {surplus} other POSTs"
    )
    return whole == 2 * offer.events and not results and not surplus


def judge(live: Steady, arrivals: Sequence[Arrival], began: float, asked: float) -> bool:
    """Print how fast it went and how the live ones fared; whether the goals are met."""
    times = sorted(one.came_s for one in arrivals if one.replayed)
    rate, fastest = rate_of(times)
    before, during = live.waits(arrivals, began, asked), live.waits(arrivals, times[0], times[-1])
    slower = system.percentile(during, 0.99) / system.percentile(before, 0.99)
    print(
        f"  replayed {rate:.1f}/s, in the fastest ten seconds {fastest:.1f}/s, first after {times[0] - asked:.1f} s, "
        f"over {times[-1] - times[0]:.0f} s"
    )
    print(f"  live, publish to POST: before {spread(before)} ({len(before)}), during {spread(during)} ({len(during)})")
    met = GOALS[0] <= rate / RATE <= GOALS[1] and slower <= GOAL_P99
    print(
        f"  rate to its limit {rate / RATE:.3f} (goal {GOALS[0]} to {GOALS[1]}), live p99 {slower:.2f} times "
        f"(goal {GOAL_P99}): {'met' if met else 'not met'}"
    )
    return met


async def run() -> bool:
    """Print the figures; True where they are verified and the goals are met."""
    offer = Offer(PAST, tenants=1)
    with receiving(2) as receiver:
        async with (
            system.running() as stack,
            tallying(stack) as tally,
            system.producing(stack) as producer,
        ):
            await offer.register(stack, producer, receiver, "http")
            live = Steady(producer, LIVE, LIVE_RATE, PAST)
            await live.register(receiver)
            publishing = asyncio.create_task(offer.publish(producer))
            past = await offering.measured(stack, tally, PAST)
            await publishing
            async with live.sending():
                await asyncio.sleep(SETTLE_S)
                began = time.time()
                await asyncio.sleep(BEFORE_S)
                asked, ended = time.time(), len(tally.ended)
                await request(producer)
                due = ended + PAST + int(LIVE_RATE * PAST / RATE)
                figures = await offering.measured(stack, tally, due - ended, PAST / RATE * 1.5 + 60)
                until = time.monotonic() + 60
                while sum(one.replayed for one in tally.finals) < PAST and time.monotonic() < until:
                    await asyncio.sleep(1.0)
            await asyncio.sleep(offering.LATE_S)
            arrivals = await receiver.arrivals()
    print(f"replay, {PAST} events at {RATE:.0f}/s beside {LIVE_RATE:.0f} live ones a second")
    print(f"  before, the past itself: {past.count / past.took_s:.0f} deliveries/s, to one endpoint")
    figures.show("deliveries, live and replayed")
    if not any(one.replayed for one in arrivals):
        print("  nothing was replayed")
        return False
    met = judge(live, arrivals, began, asked)
    return all([verify(offer, tally, arrivals), live.verify(tally, arrivals), met])
