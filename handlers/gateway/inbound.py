"""What third parties send: verified over the bytes of the body, appended to `events`, and only then answered.

Without a token: the source's scheme decides. What is not the source's leaves nothing in the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from handlers.gateway import events, sources
from handlers.gateway.calls import answer, counted
from handlers.gateway.context import RETRY_AFTER_S, Context, Rate
from handlers.gateway.problems import Handler, Kind, Refusal, expected
from handlers.wire import clouds, inbound_events, inbound_handshakes, inbound_signatures
from handlers.wire.inbound_events import Arrived, Unfit
from handlers.wire.inbound_signatures import Incoming
from schemas import topics
from schemas.api import Published, PublishedBatch
from schemas.model import is_identifier
from schemas.sources import Scheme, SourceRegistered
from streams.core import sealing
from streams.core.sealing import CannotOpen, Keyring

logger = logging.getLogger(__name__)

PATH = "/in/{tenant}/{source_id}"
METHODS = ("GET", "OPTIONS", "POST")
#: A larger body is looked at in a thread, so that others are not kept waiting.
LARGE_BYTES = 65_536
BODY_TIMEOUT_S = 15.0
#: Whose senders want an answer without a body.
_SILENT: frozenset[Scheme] = frozenset({"okta", "slack"})
#: What a 401 asks for, where HTTP has a name for it.
_CHALLENGES: dict[Scheme, str] = {"basic": 'Basic realm="hookfold"', "bearer": "Bearer"}
_KINDS = {"unreadable": Kind.BAD_REQUEST, "invalid": Kind.INVALID, "large": Kind.TOO_LARGE}

#: A source, and its secrets, opened.
_Found = tuple[SourceRegistered, tuple[str, ...]]
_Handle = Callable[[Context, web.Request, _Found], Awaitable[web.StreamResponse]]


def add(app: web.Application, context: Context, rate: Rate) -> None:
    """Add the calls to an application. `rate`: of what comes in for a tenant, apart from what it asks itself."""
    # Whoever produces to Kafka may write for every tenant: what was sealed for any is opened, unlike the API's.
    ring = Keyring(context.settings.keys)
    for method, handle in zip(METHODS, (_challenged, _asked, _received), strict=True):
        guarded = counted(f"{method} {PATH}", _guarded(context, rate, ring, handle))
        app.router.add_route(method, PATH, guarded, expect_handler=expected)


def _guarded(context: Context, rate: Rate, ring: Keyring, handle: _Handle) -> Handler:
    async def guard(request: web.Request) -> web.StreamResponse:
        tenant, source_id = request.match_info["tenant"], request.match_info["source_id"]
        if not is_identifier(tenant) or not is_identifier(source_id):
            raise Refusal(Kind.NOT_FOUND, "there is nothing here")
        rate.take(tenant)
        return await handle(context, request, await _find(context, ring, tenant, source_id))

    return guard


async def _find(context: Context, ring: Keyring, tenant: str, source_id: str) -> _Found:
    """The source. Whether it is the tenant that is unknown, or the source, is not to be told."""
    try:
        row = await sources.find(context, tenant, source_id)
    except Refusal as refusal:
        if refusal.kind is not Kind.NOT_FOUND:
            raise
        raise Refusal(Kind.NOT_FOUND, "there is nothing here") from None
    source = SourceRegistered.model_validate_json(row.record)
    try:
        opened = sealing.open_secrets(source, ring, tenant, sealing.name_of_source(source_id))
    except CannotOpen as problem:
        logger.error("source.sealed tenant=%s source_id=%s reason=%s", tenant, source_id, problem)
        raise Refusal(Kind.UNAVAILABLE, "the source cannot be used", retry_after_s=RETRY_AFTER_S) from None
    return source, opened.secrets


async def _received(context: Context, request: web.Request, found: _Found) -> web.StreamResponse:
    """`POST`: append its events, all or none."""
    source, secrets = found
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(Kind.UNSUPPORTED, "what is signed are the bytes of the body: it is not to be compressed")
    incoming = Incoming(_headers(request), await _body(request))

    def judge() -> list[Arrived] | str:
        return _judge(context, request.match_info["tenant"], source, secrets, incoming)

    judged = await asyncio.to_thread(judge) if len(incoming.body) > LARGE_BYTES else judge()
    if isinstance(judged, str):
        return web.json_response({"challenge": judged})
    appended = await _append(context, request, judged)
    if source.scheme in _SILENT:
        return web.Response()
    return answer(PublishedBatch(items=tuple(appended)), 202)


async def _body(request: web.Request) -> bytes:
    """The body as it came. Nobody has shown who they are by now: there is an end to how slowly it may come."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise Refusal(Kind.BAD_REQUEST, f"the body did not come within {BODY_TIMEOUT_S:g} s") from None


def _judge(
    context: Context, tenant: str, source: SourceRegistered, secrets: tuple[str, ...], incoming: Incoming
) -> list[Arrived] | str:
    """The events of a request, or the challenge that it wants to hear again. Raises `Refusal`."""
    unverified = inbound_signatures.verify(source, secrets, incoming, int(time.time()))
    if unverified is not None:
        challenge = _CHALLENGES.get(source.scheme, "Webhook")
        raise Refusal(Kind.UNVERIFIED, unverified.reason, authenticate=challenge)
    if (asked := inbound_handshakes.slack_challenge(source, incoming)) is not None:
        return asked
    arrived = inbound_events.read(source, incoming, str(uuid.uuid4()))
    if isinstance(arrived, Unfit):
        raise Refusal(_KINDS[arrived.kind], arrived.reason)
    for number, event in enumerate(arrived):
        place = f"event {number + 1}: " if len(arrived) > 1 else ""
        events.check(context, tenant, event.value, event.headers, place)
    return arrived


async def _append(context: Context, request: web.Request, arrived: list[Arrived]) -> list[Published]:
    tenant = request.match_info["tenant"]
    traceparent = request.headers.get("traceparent", "")
    more = [("traceparent", traceparent.encode("utf-8", "replace"))] if traceparent else []
    records = [(event.value, [*event.headers, *more]) for event in arrived]
    if context.settings.seal_payloads:
        read = [events.check(context, tenant, value, headers, "") for value, headers in records]
        records = [clouds.as_record(event) for event in await context.sealed(tenant, read)]
    # One that is larger than a batch of several may be is still one that its topic takes.
    if len(records) == 1:
        sent = await context.send(topics.EVENTS, tenant, *records[0])
        places = [(sent.partition, sent.offset)]
    else:
        places = await context.send_together(topics.EVENTS, tenant, records) if records else []
    return [
        Published(id=event.event_id, partition=partition, offset=offset)
        for event, (partition, offset) in zip(arrived, places, strict=True)
    ]


async def _challenged(context: Context, request: web.Request, found: _Found) -> web.StreamResponse:
    """`GET`: Okta's one-time verification."""
    challenge = inbound_handshakes.okta_challenge(found[0], _headers(request))
    if challenge is None:
        raise web.HTTPMethodNotAllowed("GET", ("OPTIONS", "POST"))
    return web.json_response({"verification": challenge})


async def _asked(context: Context, request: web.Request, found: _Found) -> web.StreamResponse:
    """`OPTIONS`: whether a sender of CloudEvents may send."""
    allowed = inbound_handshakes.permission(_headers(request), context.settings.gateway_rate_per_s * 60)
    return web.Response(headers={"allow": ", ".join(METHODS), **(allowed or {})})


def _headers(request: web.Request) -> dict[str, str]:
    """By lower-case name, the first of each."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found.setdefault(name.lower(), value)
    return found
