"""`python -m tests.bench.scale [part]…`: what Hookfold costs as it grows. Every part verifies what it has measured.

Parts: `endpoints` (SCALE_ENDPOINTS: how many, a run each), `retries` (SCALE_RETRIES: how many wait, one after the
other), `idle` (SCALE_PARTITIONS: of each topic, a run each).
"""

import asyncio
import logging
import sys

from tests.bench import scale_endpoints, scale_idle, scale_retries

PARTS = {"endpoints": scale_endpoints.run, "retries": scale_retries.run, "idle": scale_idle.run}


def main() -> int:
    names = sys.argv[1:] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        print(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    # A broker takes a moment to lead topics that were just made, and aiokafka says so once a try.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    verified = [asyncio.run(PARTS[name]()) for name in names]
    return 0 if all(verified) else 1


if __name__ == "__main__":
    sys.exit(main())
