"""The checker names what is wrong, and is content with all that is promised."""

from typing import Any

import pytest

from tests.chaos import checker, plan
from tests.chaos.observed import Observed, Posted, Sent


def found(observed: Observed) -> set[str]:
    return {kind for kind, count in checker.check(observed).items() if count}


def result(name: str, attempt: int = 1, verdict: str = "delivered", **more: object) -> dict[str, object]:
    return {"tenant": "t", "event_id": name, "endpoint_id": "steady", "delivery_id": "00000000", "attempt": attempt,
            "verdict": verdict, "attempted_at_ms": 1_000, **more}  # fmt: skip


def retrying(attempt: int, due_ms: int, at_ms: int = 1_000) -> dict[str, object]:
    return result("e", attempt, "retrying", next_attempt_at_ms=due_ms, attempted_at_ms=at_ms)


ALWAYS_FAILS = {"delivery_id": "00000007"}


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([], "lost"),
        ([result("e"), result("e")], "doubled results"),
        ([result("e"), result("e", 2)], "two final verdicts"),
        ([result("e"), result("other")], "not owed"),
        ([retrying(1, 2_000), result("e", 2)], "early"),
        ([retrying(1, 2_000), result("e", 2, attempted_at_ms=40_000)], "late"),
        ([retrying(2, 3_000), retrying(1, 2_000), result("e", 3)], "out of order"),
        ([result("e", 2)], "wrong attempts"),
        ([result("e", attempt, "dead", **ALWAYS_FAILS) for attempt in (1, 2, 3, 4, 5)], "wrong attempts"),
        ([result("e", 1, "dead", **ALWAYS_FAILS)], "wrong attempts"),
        ([result("e", 1, "dead")], "wrong verdict"),
        ([result("e", 0, "skipped")], "wrong verdict"),
        ([result("e", delivery_id="00000010")], "results without POST"),
    ],
)
def test_the_checker_names_what_is_wrong(results: list[dict[str, object]], kind: str) -> None:
    observed = Observed(events=[Sent("t", "e", 5)], results=results)
    assert checker.check(observed)[kind] > 0


def toggled(number: int) -> Observed:
    """An event while the second registration was in force, posted to the URL of registration `number`."""
    return Observed(
        events=[Sent("t", "e", 50)],
        toggles=[Sent("t", "on", 10, 1), Sent("t", "off", 20), Sent("t", "on", 30, 2), Sent("t", "on", 90, 3)],
        results=[result("e"), result("e", endpoint_id="toggled", delivery_id="00000010")],
        posts=[Posted("00000000", 1), Posted("00000010", 1, number)],
    )


def test_the_checker_sees_a_post_to_an_older_url_and_an_event_that_was_lost_on_its_way() -> None:
    assert found(toggled(1)) == {"wrong version"}
    for number in (2, 3):
        assert not any(checker.check(toggled(number)).values())
    assert checker.check(Observed(acknowledged={"e"}))["not in the log"] == 1


def test_what_kafka_was_away_for_is_not_late() -> None:
    observed = Observed(
        events=[Sent("t", "e", 5)],
        results=[result("e", 1, "retrying", next_attempt_at_ms=2_000, delivery_id="00000004"),
                 result("e", 2, attempted_at_ms=99_000, delivery_id="00000004")],
        posts=[Posted("00000004", 1), Posted("00000004", 2)],
        kafka_away_ms=[(1_000, 95_000)],
    )  # fmt: skip
    assert not any(checker.check(observed).values())
    assert checker.latest_ms(observed) == 4_000


def test_the_checker_is_content_with_what_should_be() -> None:
    observed = Observed(events=[Sent("t", "e", 5)], results=[result("e")], posts=[Posted("00000000", 1)])
    assert not any(checker.check(observed).values())
    assert plan.failures_of("00000000") == 0


FIRST, SECOND, DEAD = "00000004", "00000000", "00000007"
TWO = [Sent("t1", "e1", 100, line="l"), Sent("t1", "e2", 200, line="l")]


def told(tenant: str, name: str, delivery_id: str, attempt: int, verdict: str, **more: Any) -> dict[str, Any]:
    due = {"next_attempt_at_ms": 0} if verdict == "retrying" else {}
    given = {"tenant": tenant, "delivery_id": delivery_id, "status_code": 200, **due, **more}
    return {**result(name, attempt, verdict), **given}


def in_line(*posts: Posted, first: str = FIRST) -> Observed:
    """Two deliveries of one line: the first fails as its id says, the second does not."""
    attempts, verdict = plan.ending(first, set())
    results = [told("t1", "e1", first, number, "retrying") for number in range(1, attempts)]
    results += [told("t1", "e1", first, attempts, verdict), told("t1", "e2", SECOND, 1, "delivered")]
    return Observed(events=TWO, results=results, posts=list(posts))


def sent(delivery_id: str, attempt: int, at_s: float, **more: Any) -> Posted:
    """A POST that came at a time and was answered a tenth of a second later, as planned."""
    accepted = plan.answer(delivery_id, attempt) < 300
    return Posted(delivery_id, attempt, accepted=accepted, arrived_s=at_s, answered_s=at_s + 0.1, **more)


def test_the_next_of_a_line_comes_when_the_one_before_is_over() -> None:
    first = [sent(FIRST, 1, 1), sent(FIRST, 2, 2)]
    assert found(in_line(*first, sent(SECOND, 1, 2.2))) == set()
    assert found(in_line(*first, sent(SECOND, 1, 2.05))) == {"overtaken"}
    assert found(in_line(*first, sent(SECOND, 1, 1.5))) == {"overtaken"}


def test_what_is_sent_again_after_a_crash_may_come_later_than_its_successors() -> None:
    again = [sent(SECOND, 1, 2.2), sent(FIRST, 2, 3), sent(FIRST, 1, 4), sent(SECOND, 1, 5)]
    assert found(in_line(sent(FIRST, 1, 1), sent(FIRST, 2, 2), *again)) == set()


def test_what_is_dead_is_over_with_its_last_attempt() -> None:
    first = [sent(DEAD, number, number) for number in (1, 2, 3, 4)]
    assert found(in_line(*first, sent(SECOND, 1, 4.2), first=DEAD)) == set()
    assert found(in_line(*first, sent(SECOND, 1, 3.5), first=DEAD)) == {"overtaken"}


def test_results_of_a_line_are_in_its_order() -> None:
    observed = in_line(sent(FIRST, 1, 1), sent(FIRST, 2, 2), sent(SECOND, 1, 2.2))
    observed.results.insert(0, observed.results.pop())
    assert found(observed) == {"overtaken in the log"}


def test_lines_do_not_wait_for_each_other() -> None:
    observed = in_line(sent(FIRST, 1, 1), sent(FIRST, 2, 2), sent(SECOND, 1, 0.5))
    assert found(observed) == {"overtaken"}
    observed.events = [TWO[0], Sent("t1", "e2", 200, line="other")]
    assert found(observed) == set()


def item(delivery_id: str, batch_id: str, attempt: int = 1, *, accepted: bool = True, request: int = 1) -> Posted:
    return Posted(delivery_id, attempt, batch_id=batch_id, accepted=accepted, request=request)


def of_item(name: str, delivery_id: str, attempt: int, verdict: str, batch_id: str) -> dict[str, Any]:
    return told("t4", name, delivery_id, attempt, verdict, batch_id=batch_id)


#: Two deliveries in a batch, of which one fails and is sent again in a batch of its own.
POSTS = [item("0a", "b1"), item("0b", "b1", accepted=False), item("0b", "b2", 2, request=2)]
RESULTS = [
    of_item("e1", "0a", 1, "delivered", "b1"),
    of_item("e2", "0b", 1, "retrying", "b1"),
    of_item("e2", "0b", 2, "delivered", "b2"),
]


def in_batches(posts: list[Posted], results: list[dict[str, Any]]) -> Observed:
    return Observed(events=[Sent("t4", "e1", 100), Sent("t4", "e2", 200)], posts=posts, results=results)


def test_the_checker_is_content_with_batches_as_they_should_be() -> None:
    assert found(in_batches(POSTS, RESULTS)) == set()
    # A crash before the results were written: the items come again, in other company.
    before = [item("0a", "b0", request=3), item("0b", "b0", request=3), item("0c", "b0", request=3)]
    again = [*before, *POSTS[:1], item("0b", "b3", request=4)]
    results = [RESULTS[0], of_item("e2", "0b", 1, "delivered", "b3"), of_item("e3", "0c", 1, "delivered", "b0")]
    observed = in_batches(again, results)
    observed.events.append(Sent("t4", "e3", 300))
    assert found(observed) == set()


@pytest.mark.parametrize(
    ("posts", "results", "kind"),
    [
        (POSTS, [RESULTS[0], of_item("e2", "0b", 1, "delivered", "b1")], "wrong verdict"),
        (POSTS, [of_item("e1", "0a", 1, "retrying", "b1"), *RESULTS[1:]], "wrong verdict"),
        (POSTS, RESULTS[:2], "lost"),
        (POSTS, RESULTS[1:], "POSTs without result"),
        (POSTS, [*RESULTS, RESULTS[0]], "two final verdicts"),
        (POSTS, [of_item("e1", "0a", 1, "delivered", "b2"), *RESULTS[1:]], "results without POST"),
        (POSTS, [of_item("e1", "0a", 1, "delivered", ""), *RESULTS[1:]], "results without POST"),
        (POSTS, [of_item("e1", "0a", 2, "delivered", "b1"), *RESULTS[1:]], "wrong attempts"),
        ([*POSTS[:2], item("0b", "b1", 2, request=2)], RESULTS, "wrong batch"),
        ([*POSTS, POSTS[0]], RESULTS, "wrong batch"),
        ([*POSTS[:2], item("0b", "b2", 1, request=2)], RESULTS, "wrong batch"),
        (POSTS, [*RESULTS[:2], of_item("e2", "0b", 2, "dead", "b2")], "wrong attempts"),
        (POSTS, [*RESULTS[:2], of_item("e2", "0b", 2, "dead", "b2")], "wrong verdict"),
    ],
)
def test_the_checker_names_what_is_wrong_with_a_batch(
    posts: list[Posted], results: list[dict[str, Any]], kind: str
) -> None:
    assert kind in found(in_batches(posts, results))


def test_an_attempt_that_found_nobody_counts_while_its_receiver_was_known_to_be_away() -> None:
    refused = told("a0", "e", SECOND, 1, "retrying", error_kind="refused", next_attempt_at_ms=2_000)
    delivered = told("a0", "e", SECOND, 2, "delivered", attempted_at_ms=55_000)
    observed = Observed(events=[Sent("a0", "e", 5)], results=[refused, delivered], posts=[Posted(SECOND, 2)])
    assert found(observed) == {"results without POST", "wrong attempts", "late"}
    observed.receiver_away_ms = [(500, 30_000)]
    assert found(observed) == set()
    observed.results[1]["attempted_at_ms"] = 100_000
    assert found(observed) == {"late"}
