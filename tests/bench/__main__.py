"""`python -m tests.bench [scenario]…`: the scenarios named, or all of them."""

import asyncio
import sys

from tests.bench import (
    bare,
    drain,
    failing,
    fanout,
    idle,
    isolation,
    large,
    latency,
    peers,
    replay,
    router,
    saturated,
    tls,
    waiting,
    workers,
)

SCENARIOS = {
    "saturated": saturated.run,
    "bare": bare.run,
    "fanout": fanout.run,
    "drain": drain.run,
    "router": router.run,
    "latency": latency.run,
    "large": large.run,
    "tls": tls.run,
    "failing": failing.run,
    "replay": replay.run,
    "workers": workers.run,
    "isolation": isolation.run,
    "waiting": waiting.run,
    "idle": idle.run,
