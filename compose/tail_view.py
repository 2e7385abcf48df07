"""Which results `hookfold tail` shows, and as what. Pure: it reads no clock and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from schemas.results import ErrorKind, Verdict
from streams.core import matching

if TYPE_CHECKING:
    from rich.text import Text

COLOURS = {Verdict.DELIVERED: "green", Verdict.RETRYING: "yellow", Verdict.DEAD: "red", Verdict.SKIPPED: "cyan"}
#: Widths that most names fit in; longer ones push the rest of their line.
ENDPOINT, EVENT_TYPE, EVENT_ID, VERDICT, ENDED, LATENCY = 24, 20, 24, 9, 8, 8
_UNITS_MS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The results that are asked for: those that all of these are true of; None, and no verdict, ask for nothing.

    `event_type` is a pattern, as subscriptions have them; `failed` is every verdict but `delivered`.
    """

    tenant: str | None = None
    endpoint_id: str | None = None
    event_type: str | None = None
    event_id: str | None = None
    verdicts: frozenset[str] = frozenset()
    failed: bool = False

    def takes(self, result: Mapping[str, Any]) -> bool:
        """True for a result that is asked for."""
        verdict = result["verdict"]
        return (
            self.tenant in (None, result["tenant"])
            and self.endpoint_id in (None, result["endpoint_id"])
            and self.event_id in (None, result["event_id"])
            and (not self.verdicts or verdict in self.verdicts)
            and not (self.failed and verdict == Verdict.DELIVERED)
            and (self.event_type is None or matching.matches(self.event_type, result["event_type"]))
        )


def read(value: bytes | None) -> dict[str, Any] | None:
    """The result in a record's value, with the fields and verdicts of any version; None where it is not one."""
    try:
        result = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    named = ("tenant", "endpoint_id", "event_type", "event_id", "verdict")
    if not isinstance(result, dict) or not all(isinstance(result.get(name), str) for name in named):
        return None
    return result


def line(result: Mapping[str, Any], logged_at_ms: int) -> Text:
    """A result in one line, with its verdict in a colour. `logged_at_ms`: its time in the log, ms since 1970."""
    # What every other command would load for nothing.
    from rich.text import Text

    verdict, latency_ms, following_ms = result["verdict"], result.get("latency_ms"), result.get("next_attempt_at_ms")
    endpoint = f"{result['tenant']}/{result['endpoint_id']}"
    shown = Text(f"{_time(logged_at_ms)}  ", "dim")
    shown.append(
        f"{_plain(endpoint):<{ENDPOINT}}  {_plain(result['event_type']):<{EVENT_TYPE}}  "
        f"{_plain(result['event_id']):<{EVENT_ID}}  #{result.get('attempt', 0):<3} ",
        "default not dim",
    )
    shown.append(f"{_plain(verdict):<{VERDICT}}", f"{COLOURS.get(verdict, 'default')} not dim")
    rest = f"  {_ended(result):<{ENDED}}  {duration(latency_ms) if latency_ms is not None else '':>{LATENCY}}"
    if following_ms is not None:
        rest += f"  next in {duration(max(0, following_ms - logged_at_ms))}"
    shown.append(rest, "default not dim")
    shown.rstrip()
    return shown


def duration(length_ms: int) -> str:
    """`34 ms`, `4.9 s`, `2 h`: two digits that matter, or three."""
    for unit_ms, unit in _UNITS_MS:
        if length_ms >= unit_ms:
            return f"{length_ms / unit_ms:.1f}".removesuffix(".0") + f" {unit}"
    return f"{length_ms} ms"


def _ended(result: Mapping[str, Any]) -> str:
    status, kind = result.get("status_code"), result.get("error_kind")
    # The number says it already.
    told = (status, None if status is not None and kind == ErrorKind.STATUS else kind)
    return " ".join(_plain(str(one)) for one in told if one is not None)


def _plain(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
