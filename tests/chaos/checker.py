"""What should have happened, from what was sent in; and how far what came out differs. Knows no code of the product."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import plan


@dataclass(frozen=True)
class Sent:
    """An event or a change as Kafka took it: `at_ms` is the broker's time."""

    tenant: str
    name: str
    at_ms: int


@dataclass
class Observed:
    """Everything that went in and came out. `toggles`: changes of each tenant's second endpoint, `on` or `off`."""

    events: list[Sent] = field(default_factory=list)
    toggles: list[Sent] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    posts: list[tuple[str, int]] = field(default_factory=list)
    bad_signatures: int = 0
    rejected: int = 0


def owed(observed: Observed) -> set[tuple[str, str, str]]:
    """Tenant, event and endpoint of every delivery: the first endpoint takes all; the second while it is on.

    A change counts for the events of its own millisecond and of later ones; the load never sends an event before the
    change in one millisecond, for it awaits each.
    """
    by_tenant: dict[str, list[Sent]] = defaultdict(list)
    for toggle in observed.toggles:
        by_tenant[toggle.tenant].append(toggle)
    made = set()
    for event in observed.events:
        made.add((event.tenant, event.name, "steady"))
        before = [toggle for toggle in by_tenant[event.tenant] if toggle.at_ms <= event.at_ms]
        if before and before[-1].name == "on":
            made.add((event.tenant, event.name, "toggled"))
    return made


def check(observed: Observed) -> dict[str, int]:
    """Violations by kind; all zero when every promise holds."""
    expected = owed(observed)
    finals: Counter[tuple[str, str, str]] = Counter()
    attempts: Counter[tuple[str, int]] = Counter()
    by_delivery: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in observed.results:
        key = (result["tenant"], result["event_id"], result["endpoint_id"])
        if result["verdict"] != "retrying":
            finals[key] += 1
        if result["attempt"]:
            attempts[result["delivery_id"], result["attempt"]] += 1
        by_delivery[result["delivery_id"]].append(result)
    # A POST under way at a crash has no result where the endpoint was gone when its turn came again.
    skipped = {result["delivery_id"] for result in observed.results if result["verdict"] == "skipped"}
    violations = Counter(
        {
            "lost": len(expected - set(finals)),
            "not owed": len(set(finals) - expected),
            "two final verdicts": sum(1 for count in finals.values() if count > 1),
            "doubled results": sum(1 for count in attempts.values() if count > 1),
            "POSTs without result": sum(post[0] not in skipped for post in set(observed.posts) - set(attempts)),
            "results without POST": len(set(attempts) - set(observed.posts)),
            "bad signatures": observed.bad_signatures,
            "rejected": observed.rejected,
        }
    )
    violations.update(early=0, wrong_attempts=0)
    for delivery_id, results in by_delivery.items():
        violations["early"] += _early(results)
        violations["wrong_attempts"] += _wrong_attempts(delivery_id, results)
    return dict(violations)


def repeated_posts(observed: Observed) -> int:
    """POSTs of an attempt that had been made before: allowed, and counted."""
    return len(observed.posts) - len(set(observed.posts))


def latest_ms(observed: Observed) -> int:
    """How late the latest retry was."""
    due = {
        (r["delivery_id"], r["attempt"] + 1): r["next_attempt_at_ms"]
        for r in observed.results
        if r["verdict"] == "retrying"
    }
    late = [
        r["attempted_at_ms"] - due[r["delivery_id"], r["attempt"]]
        for r in observed.results
        if (r["delivery_id"], r["attempt"]) in due and "attempted_at_ms" in r
    ]
    return max(late, default=0)


def _early(results: Sequence[dict[str, Any]]) -> int:
    due = {r["attempt"] + 1: r["next_attempt_at_ms"] for r in results if r["verdict"] == "retrying"}
    return sum(1 for r in results if r["attempt"] in due and r["attempted_at_ms"] < due[r["attempt"]])


def _wrong_attempts(delivery_id: str, results: Sequence[dict[str, Any]]) -> int:
    """1 where a delivery had other attempts than its receiver's plan asks for, or fewer and was not skipped."""
    numbers = sorted(r["attempt"] for r in results if r["attempt"])
    wanted = list(range(1, plan.failures_of(delivery_id) + 2))
    skipped = any(r["verdict"] == "skipped" for r in results)
    return int(numbers != wanted[: len(numbers)] if skipped else numbers != wanted)
