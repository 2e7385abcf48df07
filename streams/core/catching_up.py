"""What a replay owes: what was skipped, what its endpoint was not subscribed to yet, or what it got; once each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.endpoints import CatchUp, EndpointRecord, State
from schemas.events import Event
from schemas.results import Result, Verdict
from streams.core import judging, matching, ordering, outputs, reading, versions
from streams.core.filtering import Filterable
from streams.core.outputs import Output, Source


@dataclass(frozen=True, slots=True)
class Past:
    """What the log says of one delivery: its last verdict and whether a replay had it, and the highest attempt."""

    verdict: Verdict
    attempt: int
    replayed: bool


def gather(known: dict[str, Past], results: Iterable[Result]) -> None:
    """Lay the results over what is known, in the order of the log."""
    for result in results:
        before = known.get(result.delivery_id)
        attempt = max(result.attempt, before.attempt if before is not None else 0)
        known[result.delivery_id] = Past(result.verdict, attempt, result.replay_id is not None)


def owed(
    event: Event, source: Source, record: EndpointRecord, catch_up: CatchUp, past: Mapping[str, Past]
) -> Output | None:
    """The delivery that the replay makes of an event, or the result of one that was erased; None where it makes none.

    Of what was skipped, an event is owed that found the endpoint not active, and one that was delivered to it but
    skipped at the attempt; not one that has been attempted since. A backfill owes what the present subscriptions lead
    to besides. What an earlier one of these is about is that one's, unless it has ended there as skipped again: it may
    be on its way without a result. A replay owes what has come to an end as it says.
    """
    if not catch_up.since_ms <= source.at_ms < (catch_up.until_ms or 0):
        return None
    known = past.get(reading.delivery_id(event.tenant, event.event_id, record.endpoint_id))
    filterable = Filterable(event)
    if catch_up.kind == "replay":
        pattern = _again(event, record, catch_up, known, filterable)
    elif _is_anothers(record, catch_up, source.at_ms) and not (known is not None and known.replayed):
        pattern = None
    else:
        pattern = _missed(event, source, record, catch_up, known, filterable)
    if pattern is None:
        return None
    if event.erased:
        return outputs.result(judging.erase(event, source.at_ms, record.endpoint_id, catch_up.replay_id))
    attempt = known.attempt + 1 if known is not None else 1
    key = ordering.key_of(record.current.settings, filterable)
    return judging.deliver(event, source, record, record.settings_version, pattern, attempt, catch_up.replay_id, key)


def _missed(
    event: Event, source: Source, record: EndpointRecord, catch_up: CatchUp, known: Past | None, filterable: Filterable
) -> str | None:
    """The pattern that leads to what was skipped; for a backfill, also to what nobody was subscribed to then."""
    version = versions.as_of(record, source.at_ms)
    then = judging.matching_pattern(version, event, filterable) if version is not None else None
    if known is not None:
        skipped = known.verdict is Verdict.SKIPPED
    else:
        skipped = then is None or (version is not None and version.state is not State.ACTIVE)
    if not skipped:
        return None
    return then if catch_up.kind == "skipped" else judging.matching_pattern(record.current, event, filterable)


def _again(
    event: Event, record: EndpointRecord, catch_up: CatchUp, known: Past | None, filterable: Filterable
) -> str | None:
    """The pattern of the replay that covers what has come to an end; what is on its way is let be."""
    if known is None or known.verdict is Verdict.RETRYING:
        return None
    if catch_up.verdicts is not None and known.verdict.value not in catch_up.verdicts:
        return None
    if catch_up.event_types is None:
        return judging.matching_pattern(record.current, event, filterable) or event.event_type
    return next((one for one in catch_up.event_types if matching.matches(one, event.event_type)), None)


def _is_anothers(record: EndpointRecord, catch_up: CatchUp, at_ms: int) -> bool:
    for one in record.covered:
        if one.replay_id == catch_up.replay_id:
            return False
        if one.since_ms <= at_ms < one.until_ms:
            return True
    return False


def advance(record: EndpointRecord, replay_id: str, next_offset: int, end_offset: int) -> EndpointRecord:
    """The record with the replay as far as `next_offset`; without it where it has come to its end."""
    moved = (
        one.model_copy(update={"next_offset": next_offset, "end_offset": end_offset})
        if one.replay_id == replay_id
        else one
        for one in record.catch_ups
    )
    left = tuple(one for one in moved if one.replay_id != replay_id or next_offset < end_offset)
    return record.model_copy(update={"catch_ups": left})
