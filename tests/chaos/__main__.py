"""`make chaos MINUTES=… SEED=…`: a long run on a Kafka of its own, and the checker's lines."""

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from stack import free_port

from compose.kafka import LocalKafka
from tests.chaos import checker, harness, plan


def main() -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the load's own client, while Kafka is away
    minutes, seed = float(os.environ.get("MINUTES", "2")), int(os.environ.get("SEED", "1"))
    length_s = minutes * 60
    folder = Path(tempfile.mkdtemp(prefix=f"hookfold-chaos-{seed}-"))
    with LocalKafka(folder / "kafka", free_port()) as broker:
        observed, done = asyncio.run(
            harness.run(
                broker.bootstrap,
                folder,
                broker=broker,
                seed=seed,
                length_s=length_s,
                schedule=plan.faults(seed, length_s, 2),
                say=lambda line: print(line, flush=True),
            )
        )
    violations = checker.check(observed)
    print(
        f"seed {seed}, {minutes:g} min, faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(done.items()))
    )
    print(f"events {len(observed.events)}, changes {len(observed.toggles)}, results {len(observed.results)}, "
          f"POSTs {len(observed.posts)}, of them repeated {checker.repeated_posts(observed)}, "
          f"latest retry {checker.latest_ms(observed)} ms")  # fmt: skip
    for line in checker.describe(observed):
        print(line)
    if observed.resumed_s:
        print(f"first result after Kafka's {len(observed.resumed_s)} returns: at the latest after "
              f"{max(observed.resumed_s):.1f} s")  # fmt: skip
    print("violations: " + ", ".join(f"{kind} {count}" for kind, count in violations.items()))
    if any(violations.values()):
        print(f"logs and Kafka's data are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
