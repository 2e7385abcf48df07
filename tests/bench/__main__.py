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
    "peers": peers.run,
}
#: Part of another one, or in need of what is not part of the project.
BESIDE = ("bare", "peers")


def main() -> int:
    names = sys.argv[1:] or [name for name in SCENARIOS if name not in BESIDE]
    if unknown := [name for name in names if name not in SCENARIOS]:
        print(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    verified = [asyncio.run(SCENARIOS[name]()) for name in names]
    return 0 if all(verified) else 1


if __name__ == "__main__":
    sys.exit(main())
