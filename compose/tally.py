"""The demo's account: what was sent in, what came out, and whether the two agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from compose.receiver import Arrival

FINAL = ("delivered", "dead", "skipped")


@dataclass
class Tally:
    """Counts of one run. `expected` are the deliveries that the demo's own plan says are owed."""

    events: int = 0
    expected: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: int = 0
    rejected: int = 0

    def add_result(self, result: dict[str, Any]) -> None:
        """One record of `results`."""
        self.results.append(result)

    @property
    def verdicts(self) -> Counter[str]:
        """Results by verdict."""
        return Counter(result["verdict"] for result in self.results)

    @property
    def finished(self) -> int:
        """Deliveries that have a final verdict."""
        return len({result["delivery_id"] for result in self.results if result["verdict"] in FINAL})

    def waits(self) -> list[tuple[int, int, bool]]:
        """For each failed attempt that was followed: the wait asked for, its lateness (ms), its success."""
        attempts = {(result["delivery_id"], result["attempt"]): result for result in self.results}
        found = []
        for (delivery_id, attempt), result in attempts.items():
            following = attempts.get((delivery_id, attempt + 1))
            if result["verdict"] == "retrying" and following is not None:
                due_ms = result["next_attempt_at_ms"]
                found.append(
                    (
                        due_ms - result["attempted_at_ms"],
                        following["attempted_at_ms"] - due_ms,
                        following["verdict"] == "delivered",
                    )
                )
        return found

    def problems(self, arrivals: list[Arrival]) -> list[str]:
        """Every equation that does not hold, in words; empty when all do."""
        made = Counter((result["delivery_id"], result["attempt"]) for result in self.results)
        finals = Counter(result["delivery_id"] for result in self.results if result["verdict"] in FINAL)
        posts = Counter((arrival.webhook_id, arrival.attempt) for arrival in arrivals)
        waits = self.waits()
        checks = {
            f"deliveries with a result ({len({key[0] for key in made})}) = deliveries owed ({self.expected})": len(
                {key[0] for key in made}
            )
            == self.expected,
            f"final verdicts ({sum(finals.values())}) = deliveries owed ({self.expected})": sum(finals.values())
            == self.expected,
            "one result for each attempt": all(count == 1 for count in made.values()),
            "one final verdict for each delivery": all(count == 1 for count in finals.values()),
            f"attempts that arrived ({len(posts)}) = attempts with a result ({len(made)})": set(posts) == set(made),
            f"dead letters ({self.dead_letters}) = dead ({self.verdicts['dead']})": self.dead_letters
            == self.verdicts["dead"],
            "every signature verified": all(arrival.verified == "yes" for arrival in arrivals),
            "no retry came early": all(late_ms >= 0 for _, late_ms, _ in waits),
            "at least one retry waited and was then delivered": any(delivered for *_, delivered in waits),
            "nothing was rejected": self.rejected == 0,
        }
        return [words for words, holds in checks.items() if not holds]

    def repeated(self, arrivals: list[Arrival]) -> int:
        """POSTs of an attempt that had arrived before: only a process that was killed repeats one."""
        return len(arrivals) - len({(arrival.webhook_id, arrival.attempt) for arrival in arrivals})
