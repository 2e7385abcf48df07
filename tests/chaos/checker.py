"""What should have happened, from what was sent in; and how far what came out differs. Knows no code of the product."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import plan

#: A retry may be so late while processes die and are born; the time that Kafka was away comes on top.
LATE_MS = 30_000


@dataclass(frozen=True)
class Sent:
    """An event or a change as it is in the log: `at_ms` is the broker's time.

    `name`: an event's id; of a change `on` or `off`. `number`: which registration of the endpoint it is.
    """

    tenant: str
    name: str
    at_ms: int
    number: int = 0


@dataclass(frozen=True)
class Posted:
    """A POST as the receiver got it. `number`: of the registration whose URL it came to; 0: the first endpoint's."""

    delivery_id: str
    attempt: int
    number: int = 0


@dataclass
class Observed:
    """Everything that went in and came out. `toggles`: changes of each tenant's second endpoint, in the log's order.

    `results` are in the log's order within a partition; `acknowledged`: what Kafka took, by event id.
    """

    events: list[Sent] = field(default_factory=list)
    toggles: list[Sent] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    posts: list[Posted] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    kafka_away_ms: list[tuple[int, int]] = field(default_factory=list)
    resumed_s: list[float] = field(default_factory=list)
    bad_signatures: int = 0
    rejected: int = 0


class Model:
    """Who was owed what: the first endpoint takes all; the second takes what comes while it is on.

    A change counts for the events of its own millisecond and of later ones; the load never sends an event before the
    change in one millisecond, for it awaits each.
    """

    def __init__(self, observed: Observed) -> None:
        self._toggles: dict[str, list[Sent]] = defaultdict(list)
        for toggle in observed.toggles:
            self._toggles[toggle.tenant].append(toggle)
        self._times = {tenant: [toggle.at_ms for toggle in toggles] for tenant, toggles in self._toggles.items()}
        self.owed: set[tuple[str, str, str]] = set()
        self.numbers: dict[tuple[str, str], int] = {}
        self._offs: dict[tuple[str, str], bool] = {}
        for event in observed.events:
            self.owed.add((event.tenant, event.name, "steady"))
            place = bisect_right(self._times.get(event.tenant, []), event.at_ms)
            toggles = self._toggles[event.tenant]
            if place and toggles[place - 1].name == "on":
                self.owed.add((event.tenant, event.name, "toggled"))
                self.numbers[event.tenant, event.name] = toggles[place - 1].number
                self._offs[event.tenant, event.name] = any(toggle.name == "off" for toggle in toggles[place:])

    def may_skip(self, key: tuple[str, str, str]) -> bool:
        """True where the endpoint went away after the event."""
        tenant, event, endpoint = key
        return endpoint == "toggled" and self._offs.get((tenant, event), False)


def key_of(result: dict[str, Any]) -> tuple[str, str, str]:
    """Tenant, event and endpoint."""
    return result["tenant"], result["event_id"], result["endpoint_id"]


def check(observed: Observed) -> dict[str, int]:
    """Violations by kind; all zero when every promise holds."""
    model = Model(observed)
    finals: Counter[tuple[str, str, str]] = Counter()
    attempts: Counter[tuple[str, int]] = Counter()
    by_delivery: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in observed.results:
        if result["verdict"] != "retrying":
            finals[key_of(result)] += 1
        if result["attempt"]:
            attempts[result["delivery_id"], result["attempt"]] += 1
        by_delivery[result["delivery_id"]].append(result)
    posted = {(post.delivery_id, post.attempt) for post in observed.posts}
    # A POST under way at a crash has no result where the endpoint was gone when its turn came again.
    skipped = {result["delivery_id"] for result in observed.results if result["verdict"] == "skipped"}
    violations = Counter(
        {
            "not in the log": len(observed.acknowledged - {event.name for event in observed.events}),
            "lost": len(model.owed - set(finals)),
            "not owed": len(set(finals) - model.owed),
            "two final verdicts": sum(1 for count in finals.values() if count > 1),
            "doubled results": sum(1 for count in attempts.values() if count > 1),
            "POSTs without result": sum(post[0] not in skipped for post in posted - set(attempts)),
            "results without POST": len(set(attempts) - posted),
            "bad signatures": observed.bad_signatures,
            "rejected": observed.rejected,
            "wrong version": _wrong_versions(observed, model),
        }
    )
    violations.update({"early": 0, "late": 0, "wrong attempts": 0, "wrong verdict": 0, "out of order": 0})
    for delivery_id, results in by_delivery.items():
        violations["early"] += _early(results)
        violations["late"] += sum(late > LATE_MS for late in _lateness_ms(results, observed.kafka_away_ms))
        violations["wrong attempts"] += _wrong_attempts(delivery_id, results)
        violations["wrong verdict"] += _wrong_verdict(delivery_id, results, model)
        numbers = [result["attempt"] for result in results if result["attempt"]]
        violations["out of order"] += numbers != sorted(numbers)
    return dict(violations)


def repeated_posts(observed: Observed) -> int:
    """POSTs of an attempt that had been made before: allowed, and counted."""
    return len(observed.posts) - len({(post.delivery_id, post.attempt) for post in observed.posts})


def latest_ms(observed: Observed) -> int:
    """How late the latest retry was, Kafka's absence not counted."""
    by_delivery: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in observed.results:
        by_delivery[result["delivery_id"]].append(result)
    away = observed.kafka_away_ms
    return max((late for results in by_delivery.values() for late in _lateness_ms(results, away)), default=0)


def _due(results: Sequence[dict[str, Any]]) -> dict[int, int]:
    return {r["attempt"] + 1: r["next_attempt_at_ms"] for r in results if r["verdict"] == "retrying"}


def _early(results: Sequence[dict[str, Any]]) -> int:
    due = _due(results)
    return sum(1 for r in results if r["attempt"] in due and r["attempted_at_ms"] < due[r["attempt"]])


def _lateness_ms(results: Sequence[dict[str, Any]], away_ms: Sequence[tuple[int, int]]) -> list[int]:
    due = _due(results)
    late = []
    for result in results:
        if result["attempt"] in due and "attempted_at_ms" in result:
            began, ended = due[result["attempt"]], result["attempted_at_ms"]
            away = sum(max(0, min(ended, until) - max(began, since)) for since, until in away_ms)
            late.append(ended - began - away)
    return late


def _wrong_versions(observed: Observed, model: Model) -> int:
    """POSTs to an older URL than the one that was in force at the event, or to another endpoint's."""
    places = {result["delivery_id"]: key_of(result) for result in observed.results}
    wrong = 0
    for post in observed.posts:
        tenant, event, endpoint = places.get(post.delivery_id, ("", "", ""))
        if endpoint == "steady":
            wrong += post.number != 0
        elif endpoint == "toggled":
            wrong += post.number < model.numbers.get((tenant, event), 1)
    return wrong


def _wrong_attempts(delivery_id: str, results: Sequence[dict[str, Any]]) -> int:
    """1 where a delivery had other attempts than its receiver's plan asks for, or fewer and was not skipped."""
    numbers = sorted(r["attempt"] for r in results if r["attempt"])
    wanted = list(range(1, plan.attempts_of(delivery_id) + 1))
    skipped = any(r["verdict"] == "skipped" for r in results)
    return int(numbers != wanted[: len(numbers)] if skipped else numbers != wanted)


def _wrong_verdict(delivery_id: str, results: Sequence[dict[str, Any]], model: Model) -> int:
    """Final verdicts other than planned, skips of what nobody unregistered included."""
    wrong = 0
    for result in results:
        if result["verdict"] == "skipped":
            wrong += not model.may_skip(key_of(result))
        elif result["verdict"] != "retrying":
            wrong += result["verdict"] != plan.verdict_of(delivery_id)
    return wrong
