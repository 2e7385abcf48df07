"""What should have happened, from what was sent in; and how far what came out differs. Knows no code of the product."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from tests.chaos import batches, lines, plan
from tests.chaos.observed import Key, Observed, Sent, key_of

#: A retry may be so late while processes die and are born; the time that Kafka was away comes on top.
LATE_MS = 30_000
#: How long a receiver is left alone at first.
FIRST_PAUSE_MS = 5_000


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
        self.owed: set[Key] = set()
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

    def may_skip(self, key: Key) -> bool:
        """True where the endpoint went away after the event."""
        tenant, event, endpoint = key
        return endpoint == "toggled" and self._offs.get((tenant, event), False)


def check(observed: Observed) -> dict[str, int]:
    """Violations by kind; all zero when every promise holds."""
    model = Model(observed)
    by_delivery = _by_delivery(observed)
    finals: Counter[Key] = Counter()
    attempts: Counter[tuple[str, int]] = Counter()
    for result in observed.results:
        if result["verdict"] != "retrying":
            finals[key_of(result)] += 1
        if result["attempt"]:
            attempts[result["delivery_id"], result["attempt"]] += 1
    alone = {key: own for key, own in by_delivery.items() if not _in_batches(own)}
    posted = {(post.delivery_id, post.attempt) for post in observed.posts if not post.batch_id}
    # A POST under way at a crash has no result where the endpoint was gone when its turn came again.
    skipped = {result["delivery_id"] for result in observed.results if result["verdict"] == "skipped"}
    reached = {
        (result["delivery_id"], result["attempt"])
        for own in alone.values()
        for result in own
        if result["attempt"] and not is_unreached(result, observed)
    }
    violations = Counter(
        {
            "not in the log": len(observed.acknowledged - {event.name for event in observed.events}),
            "lost": len(model.owed - set(finals)),
            "not owed": len(set(finals) - model.owed),
            "two final verdicts": sum(1 for count in finals.values() if count > 1),
            "doubled results": sum(1 for count in attempts.values() if count > 1),
            "POSTs without result": sum(post[0] not in skipped for post in posted - set(attempts)),
            "results without POST": len(reached - posted),
            "bad signatures": observed.bad_signatures,
            "rejected": observed.rejected,
            "wrong version": _wrong_versions(observed, model),
        }
    )
    violations.update({"early": 0, "late": 0, "wrong attempts": 0, "wrong verdict": 0, "out of order": 0})
    for delivery_id, results in by_delivery.items():
        violations["early"] += _early(results)
        violations["late"] += sum(late > LATE_MS for late in _lateness_ms(results, observed))
        violations["wrong verdict"] += _wrong_skips(results, model)
        numbers = [result["attempt"] for result in results if result["attempt"]]
        violations["out of order"] += numbers != sorted(numbers)
        if delivery_id in alone:
            unreached = {result["attempt"] for result in results if is_unreached(result, observed)}
            violations["wrong attempts"] += _wrong_attempts(delivery_id, results, unreached)
            violations["wrong verdict"] += _wrong_verdict(delivery_id, results, unreached)
    violations.update(
        batches.account(observed, {k: own for k, own in by_delivery.items() if k not in alone}).violations
    )
    in_lines = lines.account(observed, model.owed)
    violations.update({"overtaken": in_lines.overtaken, "overtaken in the log": in_lines.results_overtaken})
    return dict(violations)


def _by_delivery(observed: Observed) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in observed.results:
        found[result["delivery_id"]].append(result)
    return found


def _in_batches(results: Sequence[dict[str, Any]]) -> bool:
    return plan.shape_of(results[0]["tenant"]).has_batches


def is_unreached(result: dict[str, Any], observed: Observed) -> bool:
    """True for an attempt that found nobody, while its receiver was away."""
    return (
        result.get("error_kind") in ("refused", "reset")
        and result["tenant"] in plan.AWAY_TENANTS
        and any(since <= result["attempted_at_ms"] <= until for since, until in observed.receiver_away_ms)
    )


def repeated_posts(observed: Observed) -> int:
    """POSTs of an attempt that had been made before: allowed, and counted."""
    return len(observed.posts) - len({(post.delivery_id, post.batch_id, post.attempt) for post in observed.posts})


def latest_ms(observed: Observed, *, away: bool = False) -> int:
    """How late the latest retry was, the absence of Kafka and of its receiver not counted. `away`: of the deliveries to
    a receiver that is away at times; else, of the others."""
    own = [one for one in _by_delivery(observed).values() if (one[0]["tenant"] in plan.AWAY_TENANTS) == away]
    return max((late for results in own for late in _lateness_ms(results, observed)), default=0)


def describe(observed: Observed) -> list[str]:
    """How much of the load was of a kind that not every run needs to have."""
    by_delivery = _by_delivery(observed)
    in_lines = lines.account(observed, Model(observed).owed)
    sent = batches.account(observed, {key: own for key, own in by_delivery.items() if _in_batches(own)})
    unreached = sum(is_unreached(result, observed) for result in observed.results)
    return [
        f"lines {in_lines.lines}, deliveries in them {in_lines.deliveries}, of them behind one that was not over "
        f"{in_lines.waited}",
        f"batches {sent.requests}, items {sent.items}, failed as a whole {sent.failed_whole}, in part "
        f"{sent.failed_in_part}",
        f"absences of a receiver {len(observed.receiver_away_ms)}, attempts that found nobody {unreached}, "
        f"latest retry besides {latest_ms(observed, away=True)} ms",
    ]


def _due(results: Sequence[dict[str, Any]]) -> dict[int, int]:
    return {r["attempt"] + 1: r["next_attempt_at_ms"] for r in results if r["verdict"] == "retrying"}


def _early(results: Sequence[dict[str, Any]]) -> int:
    due = _due(results)
    return sum(1 for r in results if r["attempt"] in due and r["attempted_at_ms"] < due[r["attempt"]])


def _lateness_ms(results: Sequence[dict[str, Any]], observed: Observed) -> list[int]:
    due = _due(results)
    late = []
    for result in results:
        if result["attempt"] in due and "attempted_at_ms" in result:
            began, ended = due[result["attempt"]], result["attempted_at_ms"]
            late.append(ended - began - _away_ms(began, ended, result["tenant"], observed))
    return late


def _away_ms(began: int, ended: int, tenant: str, observed: Observed) -> int:
    """How much of a time Kafka was away, or the receiver.

    That is asked again after 5 s, 10 s and so on: when it is back, as long again may pass, and a little more.
    """
    away = list(observed.kafka_away_ms)
    if tenant in plan.AWAY_TENANTS:
        away += [(since, 2 * until - since + FIRST_PAUSE_MS) for since, until in observed.receiver_away_ms]
    total = 0
    for since, until in sorted(away):
        total += max(0, min(ended, until) - max(began, since))
        began = max(began, min(ended, until))
    return total


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


def _wrong_attempts(delivery_id: str, results: Sequence[dict[str, Any]], unreached: set[int]) -> int:
    """1 where a delivery had other attempts than its receiver's plan asks for, or fewer and was not skipped."""
    numbers = sorted(r["attempt"] for r in results if r["attempt"])
    wanted = list(range(1, plan.ending(delivery_id, unreached)[0] + 1))
    skipped = any(r["verdict"] == "skipped" for r in results)
    return int(numbers != wanted[: len(numbers)] if skipped else numbers != wanted)


def _wrong_verdict(delivery_id: str, results: Sequence[dict[str, Any]], unreached: set[int]) -> int:
    """Final verdicts other than planned."""
    planned = ("retrying", "skipped", plan.ending(delivery_id, unreached)[1])
    return sum(result["verdict"] not in planned for result in results)


def _wrong_skips(results: Sequence[dict[str, Any]], model: Model) -> int:
    """Skips of what nobody unregistered."""
    return sum(result["verdict"] == "skipped" and not model.may_skip(key_of(result)) for result in results)
