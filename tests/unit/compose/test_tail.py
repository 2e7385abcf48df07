"""A result is shown in one line that a terminal cannot be led astray by; filters show what was asked for."""

from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from compose import cli, tail_view
from compose.tail_view import Wanted
from schemas.results import ErrorKind, Result, Verdict

AT_MS = 1_764_026_085_123
AT = "2025-11-24T23:14:45.123Z"
RESULT: dict[str, Any] = {
    "delivery_id": "d", "event_id": "order-7", "event_type": "order.made", "tenant": "acme", "endpoint_id": "shop",
    "attempt": 2, "verdict": "delivered", "status_code": 204, "latency_ms": 34,
}  # fmt: skip
RESULTS = st.builds(
    Result,
    tenant=st.text(),
    endpoint_id=st.text(),
    event_type=st.text(),
    event_id=st.text(),
    verdict=st.sampled_from(Verdict),
    error_kind=st.none() | st.sampled_from(ErrorKind),
    next_attempt_at_ms=st.none() | st.integers(0, 2**62),
)


def words(**changed: Any) -> list[str]:
    return tail_view.line({**RESULT, **changed}, AT_MS).plain.split()


def test_a_line_says_what_became_of_the_attempt() -> None:
    assert words() == [AT, "acme/shop", "order.made", "order-7", "#2", "delivered", "204", "34", "ms"]


def test_a_failed_attempt_says_why_and_when_the_next_is() -> None:
    failed = {"verdict": "retrying", "status_code": 503, "error_kind": "status", "next_attempt_at_ms": AT_MS + 4_960}
    assert words(**failed)[5:] == ["retrying", "503", "34", "ms", "next", "in", "5", "s"]
    assert words(**failed, latency_ms=1_234)[6:9] == ["503", "1.2", "s"]
    assert words(verdict="dead", status_code=410, error_kind="gone")[5:8] == ["dead", "410", "gone"]
    assert words(verdict="dead", status_code=None, error_kind="timeout")[5:7] == ["dead", "timeout"]


def test_a_result_without_an_attempt_has_no_number_that_is_not_there() -> None:
    skipped = {**RESULT, "attempt": 0, "verdict": "skipped", "error_kind": "paused"}
    del skipped["status_code"], skipped["latency_ms"]
    assert tail_view.line(skipped, AT_MS).plain.split()[4:] == ["#0", "skipped", "paused"]


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_has_a_colour_of_its_own(verdict: Verdict) -> None:
    line = tail_view.line({**RESULT, "verdict": verdict.value}, AT_MS)
    styles = {str(span.style) for span in line.spans if line.plain[span.start : span.end].strip() == verdict.value}
    assert styles == {f"{tail_view.COLOURS[verdict]} not dim"}
    assert len(set(tail_view.COLOURS.values())) == len(Verdict)


@given(result=RESULTS)
def test_whatever_is_in_a_result_it_is_one_line_without_control_characters(result: Result) -> None:
    shown = tail_view.line(result.model_dump(mode="json", exclude_none=True), AT_MS).plain
    assert shown.isprintable()
    assert result.verdict in shown


def test_a_verdict_that_only_later_versions_know_is_shown() -> None:
    assert words(verdict="postponed")[5] == "postponed"


@pytest.mark.parametrize(
    ("length_ms", "text"),
    [(0, "0 ms"), (999, "999 ms"), (1_000, "1 s"), (61_000, "1 min"), (5_400_000, "1.5 h"), (172_800_000, "2 d")],
)
def test_durations(length_ms: int, text: str) -> None:
    assert tail_view.duration(length_ms) == text


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), True),
        (Wanted(tenant="acme"), True),
        (Wanted(tenant="acm"), False),
        (Wanted(tenant="acme", endpoint_id="other"), False),
        (Wanted(event_type="order.*"), True),
        (Wanted(event_type="*.paid"), False),
        (Wanted(event_id="order-7", verdicts=frozenset({"dead", "delivered"})), True),
        (Wanted(verdicts=frozenset({"dead"})), False),
        (Wanted(failed=True), False),
    ],
)
def test_only_what_was_asked_for_is_taken(wanted: Wanted, taken: bool) -> None:
    assert wanted.takes(RESULT) is taken


@pytest.mark.parametrize("verdict", [*Verdict, "postponed"])
def test_failed_is_all_but_delivered(verdict: str) -> None:
    assert Wanted(failed=True).takes({**RESULT, "verdict": verdict}) is (verdict != "delivered")


@given(result=RESULTS)
def test_every_result_is_read(result: Result) -> None:
    wire = result.model_dump_json(exclude_none=True).encode()
    assert tail_view.read(wire) == orjson.loads(wire)


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"7", b'{"verdict":"dead"}', b'{"verdict":1}', b"\xff"])
def test_what_is_not_a_result_is_none(value: bytes | None) -> None:
    assert tail_view.read(value) is None


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--verdict", "lost"], "--verdict"),
        (["--event-type", "a..b"], "--event-type"),
        (["--since", "yesterday"], "--since"),
        (["--count", "none"], "--count"),
        (["--colour"], "--colour"),
        (["--failed", "--verdict", "delivered"], "--failed"),
    ],
)
def test_a_bad_option_is_one_clear_line_and_status_2(words: list[str], name: str) -> None:
    ended = CliRunner().invoke(cli.main, ["tail", *words])
    assert ended.exit_code == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert name in line
