"""What an answer means, and that no answer does harm."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.wire import outcome
from handlers.wire.outcome import MAX_EXCERPT_BYTES, Outcome, Wish
from schemas.results import ErrorKind
from streams.core.breaking import Ending, Report
from streams.core.retrying import MAX_RETRY_AFTER_MS

#: 1994-11-06 08:48:37 UTC, one minute before the date of RFC 9110's examples.
MINUTE_BEFORE_MS = 784_111_717_000


def answer(status: int, body: bytes = b"", retry_after: str | None = None, now_ms: int = 0) -> Outcome:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return outcome.classify_response(status, headers, body, latency_ms=12, now_ms=now_ms)


def test_a_status_is_a_success_a_redirect_gone_or_a_failure() -> None:
    for status in range(100, 600):
        found = answer(status)
        kind = ErrorKind.REDIRECT if 300 <= status < 400 else ErrorKind.GONE if status == 410 else ErrorKind.STATUS
        assert found.error_kind == (None if 200 <= status < 300 else kind)
        assert (found.status_code, found.latency_ms) == (status, 12)
        assert found.accepted == (found.error_kind is None) == (found.error is None)
        assert str(status) in (found.error or str(status))


@pytest.mark.parametrize(
    "value",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
    ids=["imf", "rfc850", "asctime"],
)
def test_a_date_is_a_wait_until_then_in_each_of_its_three_forms(value: str) -> None:
    assert answer(503, retry_after=value, now_ms=MINUTE_BEFORE_MS).retry_after_ms == 60_000
    assert answer(503, retry_after=value, now_ms=MINUTE_BEFORE_MS + 60_000).retry_after_ms is None
    assert answer(503, retry_after=value, now_ms=0).retry_after_ms == MAX_RETRY_AFTER_MS


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        ("0", 0),
        ("1", 1_000),
        (" 120 ", 120_000),
        ("007", 7_000),
        ("86400", 86_400_000),
        ("86401", MAX_RETRY_AFTER_MS),
        ("9" * 5_000, MAX_RETRY_AFTER_MS),
    ],
)
def test_seconds_are_a_wait_up_to_the_ceiling(value: str, wait_ms: int) -> None:
    for status in (429, 503, 500, 404, 302):
        assert answer(status, retry_after=value).retry_after_ms == wait_ms


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "-1",
        "+5",
        "1.5",
        "5s",
        "soon",
        "1e3",
        "\u0665",
        "²",
        "0x10",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "GMT",
        ",",
        "\0",
    ],
)
def test_garbage_is_no_wish(value: str) -> None:
    assert answer(503, retry_after=value).retry_after_ms is None


@settings(max_examples=50)
@given(
    st.one_of(st.text(max_size=40), st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} [\d:]{0,9}.{0,8}\Z"))
)
def test_no_wish_raises_or_passes_the_ceiling(value: str) -> None:
    wish = answer(503, retry_after=value, now_ms=MINUTE_BEFORE_MS).retry_after_ms
    assert wish is None or 0 <= wish <= MAX_RETRY_AFTER_MS


def test_a_success_asks_for_no_patience() -> None:
    assert answer(200, retry_after="60").retry_after_ms is None


@settings(max_examples=60)
@given(
    st.one_of(
        st.binary(max_size=1_100),
        st.text(max_size=400).map(str.encode),
        st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=5), st.integers(1, 1_500)),
    )
)
def test_an_excerpt_of_any_bytes_is_at_most_1024_bytes_of_harmless_text(body: bytes) -> None:
    for status in (200, 500):
        excerpt = answer(status, body).response_excerpt
        assert (excerpt is None) == (not body)
        if excerpt is not None:
            assert len(excerpt.encode()) <= MAX_EXCERPT_BYTES
            assert not [c for c in excerpt if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (b"", None),
        (b"ok", "ok"),
        ("ä€𝄞".encode(), "ä€𝄞"),
        (b"x" * 1_024, "x" * 1_024),
        (b"x" * 5_000, "x" * 1_024),
        ("é".encode() * 512, "é" * 512),
        (b"x" + "é".encode() * 5_000, "x" + "é" * 511),
        (b"a\0b\x1b[31mc\r\n", "a b [31mc \n"),
    ],
)
def test_an_excerpt_is_the_beginning_cut_between_characters(body: bytes, excerpt: str | None) -> None:
    assert answer(500, body).response_excerpt == excerpt


@pytest.mark.parametrize(
    "kind", [ErrorKind(k) for k in ("timeout", "dns", "refused", "reset", "tls", "blocked", "protocol")]
)
def test_an_attempt_without_an_answer_has_a_kind_and_a_line_for_the_tenant(kind: ErrorKind) -> None:
    found = outcome.classify_failure(kind, latency_ms=5)
    assert not found.accepted
    assert (found.error_kind, found.status_code, found.response_excerpt, found.latency_ms) == (kind, None, None, 5)
    assert found.error
    assert "\n" not in found.error


@pytest.mark.parametrize(
    ("status", "ending", "permanent"),
    [
        (200, Ending.ACCEPTED, False),
        (301, Ending.FAILED, False),
        (400, Ending.FAILED, True),
        (404, Ending.FAILED, True),
        (408, Ending.FAILED, False),
        (410, Ending.FAILED, False),
        (425, Ending.FAILED, False),
        (429, Ending.BUSY, False),
        (500, Ending.FAILED, False),
        (501, Ending.FAILED, False),
        (502, Ending.BUSY, False),
        (503, Ending.BUSY, False),
        (504, Ending.BUSY, False),
    ],
)
def test_an_answer_says_whether_its_receiver_is_up_to_more(status: int, ending: Ending, permanent: bool) -> None:
    told = outcome.classify_response(status, {"retry-after": "3"}, b"", latency_ms=1, now_ms=0)
    assert told.report == Report(ending, 3_000 if ending is Ending.BUSY else None)
    assert told.is_permanent is permanent


def test_one_that_takes_long_to_say_that_it_is_busy_might_as_well_say_nothing() -> None:
    for latency_ms, ending in ((999, Ending.BUSY), (1_000, Ending.UNAVAILABLE)):
        assert outcome.classify_response(504, {}, b"", latency_ms=latency_ms, now_ms=0).report == Report(ending)
    asked = outcome.classify_response(503, {"retry-after": "2"}, b"", latency_ms=5_000, now_ms=0)
    assert asked.report == Report(Ending.BUSY, 2_000)


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind in outcome._LINES])
def test_who_cannot_be_reached_is_not_up_to_more(kind: ErrorKind) -> None:
    told = outcome.classify_failure(kind, latency_ms=1)
    assert told.report == Report(Ending.FAILED if kind is ErrorKind.BLOCKED else Ending.UNAVAILABLE)


@pytest.mark.parametrize(
    ("value", "wish"),
    [("abort", Wish.ABORT), (" DISABLE ", Wish.DISABLE), ("", None), ("abort, disable", None), ("no", None)],
)
def test_a_receiver_may_wish_for_an_end(value: str, wish: Wish | None) -> None:
    for status in (200, 404, 503):
        headers = {"webhook-delivery": value}
        assert outcome.classify_response(status, headers, b"", latency_ms=1, now_ms=0).wish is wish
