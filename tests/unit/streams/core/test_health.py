"""What is said of an endpoint, and when."""

from streams.core.health import MIN_INTERVAL_MS, Health, Said

DAY = 86_400_000


def note(health: Health, at_ms: int, accepted: bool, known: int | None = None, give_up_ms: int = 5 * DAY) -> object:
    return health.note(at_ms, at_ms + 10, known, give_up_ms, accepted=accepted)


def test_the_first_failure_and_the_first_success_after_it_are_told_once() -> None:
    health = Health()
    assert note(health, 1_000, True) is None
    assert note(health, 2_000, False) == (Said.FAILING, 2_000)
    assert note(health, 3_000, False) is None
    assert note(health, 4_000, True) == (Said.RECOVERED, 4_000)
    assert note(health, 5_000, True) is None


def test_what_the_record_says_counts_until_something_has_been_said() -> None:
    health = Health()
    assert note(health, 9_000, False, known=1_000) is None
    assert note(health, 9_500, True, known=1_000) == (Said.RECOVERED, 9_500)
    # The record lags behind.
    assert note(health, 9_600, True, known=1_000) is None
    assert note(Health(), 9_000, True, known=1_000) == (Said.RECOVERED, 9_000)


def test_failing_is_told_at_most_once_a_minute_and_then_with_its_true_beginning() -> None:
    health = Health()
    assert note(health, 0, False) == (Said.FAILING, 0)
    assert note(health, 1_000, True) == (Said.RECOVERED, 1_000)
    assert note(health, 2_000, False) is None
    assert note(health, MIN_INTERVAL_MS - 10, False) is None
    assert note(health, MIN_INTERVAL_MS + 10, False) == (Said.FAILING, 2_000)


def test_a_short_failure_that_was_not_told_needs_no_end() -> None:
    health = Health()
    note(health, 0, False)
    note(health, 1_000, True)
    assert note(health, 2_000, False) is None
    assert note(health, 3_000, True) is None


def test_it_is_given_up_after_long_without_success() -> None:
    health = Health()
    assert note(health, 0, False) == (Said.FAILING, 0)
    assert note(health, 5 * DAY - 11, False) is None
    assert note(health, 5 * DAY, False) == (Said.DISABLED, 0)
    assert note(Health(), 6 * DAY, False, known=DAY) == (Said.DISABLED, DAY)
    assert note(Health(), 6 * DAY, False, known=DAY, give_up_ms=0) is None


def test_a_success_in_between_begins_anew() -> None:
    health = Health()
    note(health, 0, False)
    note(health, 4 * DAY, True)
    assert note(health, 4 * DAY + 1, False) == (Said.FAILING, 4 * DAY + 1)
    assert note(health, 6 * DAY, False) is None
