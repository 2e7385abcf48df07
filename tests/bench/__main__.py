"""`python -m tests.bench [saturated | isolation | waiting]…`: the scenarios named, or all of them."""

import asyncio
import sys

from tests.bench import isolation, saturated, waiting

SCENARIOS = {"saturated": saturated.run, "isolation": isolation.run, "waiting": waiting.run}


def main() -> int:
    names = sys.argv[1:] or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        print(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    verified = [asyncio.run(SCENARIOS[name]()) for name in names]
    return 0 if all(verified) else 1


if __name__ == "__main__":
    sys.exit(main())
