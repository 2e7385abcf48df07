"""Nothing to do, with many partitions: CPU time of each process in a minute.

Settings: SCALE_PARTITIONS (`8,64`: a run each), SCALE_IDLE_S (how long it is measured, 60).
"""

import asyncio
import os
import time

from tests.bench import system
from tests.bench.receiving import receiving
from tests.bench.tallying import Final, tallying

PARTITIONS = [int(part) for part in os.environ.get("SCALE_PARTITIONS", "8,64").split(",")]
IDLE_S = float(os.environ.get("SCALE_IDLE_S", "60"))
SETTLE_S = 20.0
TIMEOUT_S = 60.0


async def run() -> bool:
    """Print the figures; True where they are verified: an event afterwards is delivered once."""
    return all([await _run(partitions) for partitions in PARTITIONS])


async def _run(partitions: int) -> bool:
    with receiving(1) as receiver:
        async with (
            system.running({"HOOKFOLD_PARTITIONS": str(partitions)}) as stack,
            tallying(stack) as tally,
            system.producing(stack) as producer,
        ):
            await system.register(producer, "t", "e", f"http://127.0.0.1:{receiver.ports[0]}/t/e", "order.*")
            await producer.flush()
            await asyncio.sleep(SETTLE_S)
            before, began = stack.cpu_s(), time.monotonic()
            await asyncio.sleep(IDLE_S)
            spent, minutes = stack.cpu_s() - before, (time.monotonic() - began) / 60
            lanes = [await stack.total(name, "hookfold_lanes_open") for name in ("router", "egress", "delayer")]
            print(
                f"idle: {partitions} partitions of each topic; CPU-s a minute: {system.costs(spent, minutes)}; "
                f"RSS {', '.join(f'{name} {size:.0f} MB' for name, size in stack.rss().items())}; "
                f"load {system.load_average()}"
            )
            await producer.send_and_wait(system.PREFIX + "events", system.event("order.made", 0, time.time()), key=b"t")
            until = time.monotonic() + TIMEOUT_S
            while not tally.ended and time.monotonic() < until:
                await asyncio.sleep(0.1)
            arrivals = await receiver.arrivals()
    verified = tally.finals[Final(0, "e", "delivered", False)] == len(arrivals) == 1
    print(
        f"  verified: {lanes} lanes open; {len(arrivals)} of 1 event came, with {tally.finals.total()} final results",
        flush=True,
    )
    return verified and lanes == [partitions] * 3
