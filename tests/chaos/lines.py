"""Order: of a line, nothing may reach its receiver, or end in the log, before all that came earlier is over."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import plan
from tests.chaos.observed import Key, Observed, Posted, key_of


@dataclass
class _Traces:
    """What is known of one delivery: its POSTs as they arrived, and its results as they are in the log."""

    posts: list[Posted] = field(default_factory=list)
    results: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


@dataclass(frozen=True)
class Account:
    """How many lines there were, their deliveries, those that came while an earlier one was not over, and faults."""

    lines: int = 0
    deliveries: int = 0
    waited: int = 0
    overtaken: int = 0
    results_overtaken: int = 0


def lines_of(observed: Observed, owed: set[Key]) -> Mapping[tuple[str, str, str], Sequence[tuple[Key, int]]]:
    """The deliveries of each line with their events' times (ms), in the order of the log."""
    lines: dict[tuple[str, str, str], list[tuple[Key, int]]] = defaultdict(list)
    for event in observed.events:
        if not event.line or not plan.shape_of(event.tenant).has_lines:
            continue
        for endpoint in ("steady", "toggled"):
            if (key := (event.tenant, event.name, endpoint)) in owed:
                lines[event.tenant, endpoint, event.line].append((key, event.at_ms))
    return lines


def account(observed: Observed, owed: set[Key]) -> Account:
    """What became of the lines.

    A delivery that is sent again after a crash may come later than its successors, but it has been over before: so of
    what is earlier the first end counts, and of what is later the first arrival. Times are the receiver's. In the log
    there are no repetitions: there the order of the records counts.
    """
    traces = _traces(observed)
    lines = lines_of(observed, owed)
    waited = overtaken = results_overtaken = 0
    for line in lines.values():
        over_s, ended = 0.0, -1
        for key, at_ms in line:
            trace = traces[key]
            arrived_s = min((post.arrived_s for post in trace.posts), default=None)
            waited += over_s > at_ms / 1_000
            overtaken += arrived_s is not None and arrived_s < over_s
            over_s = max(over_s, _over_s(trace))
            results_overtaken += bool(trace.results) and trace.results[0][0] < ended
            ended = max([ended, *(place for place, _ in trace.results)])
    return Account(len(lines), sum(map(len, lines.values())), waited, overtaken, results_overtaken)


def _traces(observed: Observed) -> Mapping[Key, _Traces]:
    traces: dict[Key, _Traces] = defaultdict(_Traces)
    keys: dict[str, Key] = {}
    for place, result in enumerate(observed.results):
        keys[result["delivery_id"]] = key_of(result)
        traces[key_of(result)].results.append((place, result))
    for post in sorted(observed.posts, key=lambda post: post.arrived_s):
        if post.delivery_id in keys:
            traces[keys[post.delivery_id]].posts.append(post)
    return traces


def _over_s(trace: _Traces) -> float:
    """When a delivery was first over, as far as its receiver can tell: at the latest then, where it was skipped."""
    results = [result for _, result in trace.results]
    ends = [post.answered_s for post in trace.posts if post.accepted]
    made = list(_attempts(trace.posts))
    ends += [post.answered_s for number, post in made if number == plan.ATTEMPTS]
    ends += [
        (result["attempted_at_ms"] + result["latency_ms"]) / 1_000
        for result in results
        if result["verdict"] == "dead" and "status_code" not in result
    ]
    if ends:
        return min(ends)
    if any(result["verdict"] == "skipped" for result in results):
        return max((post.answered_s for _, post in made), default=0.0)
    return float("inf")


def _attempts(posts: Iterable[Posted]) -> Iterable[tuple[int, Posted]]:
    """The first POST of each attempt, with its number.

    An item of a batch does not tell its own; but each attempt has a batch of its own, and one that is made again after
    a crash at most one more: so the number is not too low.
    """
    seen = set[tuple[str, int]]()
    for post in posts:
        name = (post.batch_id, 0 if post.batch_id else post.attempt)
        if name not in seen:
            seen.add(name)
            yield len(seen) if post.batch_id else post.attempt, post
