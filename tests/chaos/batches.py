"""Batches: each item has the attempts, the results and the end that its receiver's answers ask for."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos import plan
from tests.chaos.observed import Observed, Posted

Results = Mapping[str, Sequence[dict[str, Any]]]


@dataclass(frozen=True)
class Account:
    """Requests, items, and those that failed in whole or in part; faults by kind."""

    requests: int
    items: int
    failed_whole: int
    failed_in_part: int
    violations: Mapping[str, int]


def account(observed: Observed, results: Results) -> Account:
    """What became of the items. `results`: of deliveries to endpoints with batches, by id, in the log's order."""
    requests: dict[int, list[Posted]] = defaultdict(list)
    posts: dict[str, list[Posted]] = defaultdict(list)
    for post in observed.posts:
        if post.batch_id:
            requests[post.request].append(post)
            posts[post.delivery_id].append(post)
    failed = [sum(not post.accepted for post in items) for items in requests.values()]
    violations = Counter({"wrong batch": _wrong_requests(requests, results)})
    for delivery_id, told in results.items():
        violations.update(_wrong(told, posts.get(delivery_id, [])))
    for delivery_id in posts.keys() - results.keys():  # its endpoint has none, or it has no result at all
        violations.update({"wrong batch": 1, "POSTs without result": len(posts[delivery_id])})
    whole = sum(bad == len(items) for bad, items in zip(failed, requests.values(), strict=True))
    part = sum(0 < bad < len(items) for bad, items in zip(failed, requests.values(), strict=True))
    return Account(len(requests), sum(map(len, requests.values())), whole, part, violations)


def _wrong_requests(requests: Mapping[int, Sequence[Posted]], results: Results) -> int:
    """Requests with an item twice, with other items under an id that was there before, or with another attempt than
    that of its furthest item, as far as all its items have a result of it."""
    told: dict[str, dict[str, int]] = defaultdict(dict)
    for delivery_id, own in results.items():
        for result in own:
            if "batch_id" in result:
                told[result["batch_id"]][delivery_id] = result["attempt"]
    first: dict[str, list[str]] = {}
    wrong = 0
    for items in requests.values():
        batch_id, ids = items[0].batch_id, [item.delivery_id for item in items]
        known = told.get(batch_id, {})
        furthest = max(known.values(), default=0)
        wrong += (
            len(set(ids)) != len(ids)
            or first.setdefault(batch_id, ids) != ids
            or not known.keys() <= set(ids)
            or furthest > items[0].attempt
            or (len(known) == len(ids) and furthest != items[0].attempt)
        )
    return wrong


def _wrong(results: Sequence[dict[str, Any]], posts: Sequence[Posted]) -> dict[str, int]:
    """What is wrong with one delivery. A batch that a crash has left without results is made again, perhaps with other
    items and so under another id; the receiver does not fail in it what it has accepted before."""
    answers: dict[str, set[bool]] = defaultdict(set)
    for post in posts:
        answers[post.batch_id].add(post.accepted)
    made = [result for result in results if result["attempt"]]
    unsent = sum(result.get("batch_id", "") not in answers for result in made)
    verdicts = sum(
        (result["verdict"] == "delivered") not in answers[result["batch_id"]]
        for result in made
        if result.get("batch_id", "") in answers
    )
    ends = [result["verdict"] for result in results if result["verdict"] != "retrying"]
    numbers = sorted(result["attempt"] for result in made)
    doubled = len(made) - len({result.get("batch_id") for result in made})
    attempts = numbers != list(range(1, len(numbers) + 1)) or ("dead" in ends and len(numbers) != plan.ATTEMPTS)
    refused = any(post.accepted for post in posts) and "dead" in ends
    unended = any(result["verdict"] == "retrying" and result["attempt"] >= plan.ATTEMPTS for result in made)
    return {
        "results without POST": unsent,
        "wrong verdict": verdicts + refused + unended,
        "wrong attempts": int(attempts),
        "wrong batch": doubled,
    }
