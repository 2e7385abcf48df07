"""What it costs to have nothing to do.

BENCH_PARTITIONS says how many partitions a topic has (64), BENCH_QUIET_S for how long it is measured (60).
"""

import asyncio
import os

from tests.bench import system

PARTITIONS = int(os.environ.get("BENCH_PARTITIONS", "64"))
LENGTH_S = float(os.environ.get("BENCH_QUIET_S", "60"))
#: Everything has been opened then, and looked round.
WARM_S = 15.0


async def run() -> bool:
    """Print the figures."""
    async with system.running({"HOOKFOLD_PARTITIONS": str(PARTITIONS)}) as stack:
        await asyncio.sleep(WARM_S)
        before = stack.cpu_s()
        await asyncio.sleep(LENGTH_S)
        spent, rss = stack.cpu_s() - before, stack.rss()
    print(f"idle, {PARTITIONS} partitions a topic, for {LENGTH_S:.0f} s; load {system.load_average()}")
    print(f"  CPU-s a minute: {system.costs(spent, LENGTH_S / 60)}")
    print("  RSS " + ", ".join(f"{name} {value:.0f} MB" for name, value in rss.items()))
    return True
