"""`hookfold what-if`: another filter, or another payload, over what the log has; nothing is sent."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import get_args

import click
import orjson
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from compose.commands import EXIT_FAILED, Command, fail, load
from handlers import what_if
from handlers.what_if import Change, Compared, Difference
from handlers.wire.payload import Format
from schemas.changes import Payload, Subscription
from schemas.endpoints import EndpointRecord
from schemas.model import first_line
from schemas.settings import RouterSettings
from streams.core.registering import Limits
from streams.core.sealing import CannotOpen, Keyring
from streams.erasure.view import DataKeys
from streams.lane.log import Log
from streams.past.endpoints import PastEndpoints
from streams.past.events import PastEvents

MAX_SHOWN = 160
_SIGNS = {Difference.MORE: "+", Difference.FEWER: "-", Difference.BODY: "~"}


@click.command("what-if", cls=Command, model=RouterSettings)
@click.option("--tenant", required=True, help="Whose endpoint it is.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=24.0, show_default=True, help="How far back.")
@click.option(
    "--event-type",
    "event_types",
    multiple=True,
    help="A pattern; may be given repeatedly. Default: the endpoint's own.",
)
@click.option("--filter", "given_filter", help="A CESQL expression, or an object on the data as JSON.")
@click.option("--format", "form", type=click.Choice(get_args(Format)), help="Another format of the payload.")
@click.option("--field", "wanted", multiple=True, help="A path such as data.id; may be given repeatedly.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each difference.")
@click.argument("endpoint_id")
def command(
    tenant: str,
    hours: float,
    event_types: tuple[str, ...],
    given_filter: str | None,
    form: Format | None,
    wanted: tuple[str, ...],
    as_json: bool,
    endpoint_id: str,
) -> None:
    """Show what another subscription or payload of an endpoint would have made of the events of the last hours.

    Nothing is sent and nothing is changed. `+` would have been delivered and was not, `-` was and would not have been,
    `~` would have had another body.
    """
    if not (event_types or given_filter or form or wanted):
        fail("say what is to be tried: --event-type, --filter, --format or --field")
    text = (given_filter or "").strip()
    try:
        wanted_filter = orjson.loads(text) if text.startswith("{") else given_filter
        payload = Payload(format=form or "standard", fields=wanted or None) if form or wanted else None
    except orjson.JSONDecodeError:
        fail("--filter: is not JSON")

    def change_of(record: EndpointRecord) -> Change:
        if not event_types and not given_filter:
            return Change(None, payload)
        had = record.current.settings
        own = dict.fromkeys(pattern for one in (had.subscriptions if had else ()) for pattern in one.event_types)
        patterns = event_types or tuple(own) or ("**",)
        return Change((Subscription(event_types=patterns, filter=wanted_filter),), payload)

    settings = load(RouterSettings)
    since_ms = int((time.time() - hours * 3600) * 1000)
    try:
        asyncio.run(_run(settings, tenant, endpoint_id, since_ms, change_of, as_json))
    except (KafkaError, TimeoutError) as problem:
        fail(f"Kafka at {settings.kafka} does not answer: {type(problem).__name__}", EXIT_FAILED)


async def _run(
    settings: RouterSettings,
    tenant: str,
    endpoint_id: str,
    since_ms: int,
    change_of: Callable[[EndpointRecord], Change],
    as_json: bool,
) -> None:
    log = Log(settings)
    keys = DataKeys(settings, log, seals=settings.seal_payloads)
    await log.start()
    try:
        ring = Keyring(settings.keys)
        limits = Limits(settings.allow_http, settings.allowed_networks, settings.default_verification, ring)
        record = await _endpoint(PastEndpoints(settings, log, limits), tenant, endpoint_id)
        try:
            change = change_of(record)
        except ValidationError as problem:
            fail(first_line(problem))
        if (refused := what_if.refuse(change)) is not None:
            fail(refused)
        looked = erased = 0
        counts: Counter[Difference] = Counter()
        async for found in PastEvents(settings, log, keys).between(tenant, since_ms, int(time.time() * 1000)):
            looked += 1
            if found.event.erased:
                erased += 1
                continue
            compared = what_if.compare(found.event, found.source, record, change)
            if compared is not None:
                counts[compared.difference] += 1
                click.echo(_line(compared, as_json))
    except CannotOpen as problem:
        fail(str(problem))
    finally:
        await keys.stop()
        await log.stop()
    told = ", ".join(f"{counts[one]} {words}" for one, words in _WORDS.items())
    more = f"; {erased} were erased, and passed over" if erased else ""
    click.echo(f"{looked} events since {_time(since_ms)}: {told}{more}", err=True)


_WORDS = {
    Difference.MORE: "more would have been delivered",
    Difference.FEWER: "fewer",
    Difference.BODY: "with another body",
}


async def _endpoint(endpoints: PastEndpoints, tenant: str, endpoint_id: str) -> EndpointRecord:
    found = next((one for one in await endpoints.of(tenant) if one.endpoint_id == endpoint_id), None)
    if found is None:
        fail(f"there is no endpoint {endpoint_id} of {tenant}, and never was")
    return found


def _line(compared: Compared, as_json: bool) -> bytes | str:
    event = compared.event
    if as_json:
        told = {"difference": compared.difference, "event_id": event.event_id, "event_type": event.event_type}
        bodies = {"before": _text(compared.before), "after": _text(compared.after)}
        return orjson.dumps({**told, "at_ms": compared.at_ms, "reason": compared.reason, **bodies})
    head = f"{_SIGNS[compared.difference]} {_time(compared.at_ms)} {event.event_type} {event.event_id}"
    if compared.difference is Difference.BODY:
        before, after = (_short(_text(one) or "") for one in (compared.before, compared.after))
        return f"{head}\n    {before}\n    {after}"
    return f"{head}  {compared.reason}"


def _text(body: bytes | None) -> str | None:
    return body.decode("utf-8", "replace") if body is not None else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…"


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
