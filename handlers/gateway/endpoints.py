"""The calls about endpoints. Each write is one change in `subscriptions`."""

from __future__ import annotations

import asyncio
import base64
import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from handlers.gateway import cursors
from handlers.gateway.calls import TENANT_PATH, Call, answer, body_of, no_content, query_of
from handlers.gateway.context import Context
from handlers.gateway.problems import Kind, Refusal
from handlers.gateway.views import Views
from schemas import topics
from schemas.api import (
    Accepted,
    EndpointPage,
    EndpointPatch,
    EndpointShown,
    EndpointWithSecret,
    NewSubscription,
    Pause,
    Registration,
    Resume,
    Rotation,
    TestOwed,
)
from schemas.changes import Subscription
from schemas.deliveries import TEST, Delivery
from schemas.endpoints import EndpointRecord, State
from schemas.events import Event
from schemas.model import Record
from streams.core import keys, reading
from streams.core.showing import shown
from streams.lane import clock

SECRET_BYTES = 32
PATH = TENANT_PATH + "/endpoints"
ONE = PATH + "/{endpoint_id}"


class EndpointQuery(Record):
    """A page of endpoints."""

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=1024)


async def register(context: Context, request: web.Request) -> web.StreamResponse:
    """Register an endpoint; the same id again replaces it whole."""
    given = await body_of(request, Registration)
    endpoint_id = given.endpoint_id or f"ep_{uuid.uuid4().hex}"
    made = None
    fields = given.model_dump(exclude_none=True, exclude={"endpoint_id"})
    if given.secrets is None:
        made = new_secret()
        fields["secrets"] = (made,)
    return await _written(context, request, endpoint_id, "endpoint.registered", fields, status=201, secret=made)


async def list_endpoints(context: Context, request: web.Request) -> web.StreamResponse:
    """The tenant's endpoints by id, without those that are gone."""
    query = query_of(request, EndpointQuery)
    (after,) = cursors.read(query.cursor, (str,)) if query.cursor is not None else ("",)
    values = await context.views(Views.endpoints, _tenant(request), after, query.limit + 1)
    records = await asyncio.to_thread(lambda: [EndpointRecord.decode(value) for value in values])
    more = len(records) > query.limit
    items = tuple(shown(record, context.ring) for record in records[: query.limit])
    return answer(EndpointPage(items=items, next_cursor=cursors.make(items[-1].endpoint_id) if more else None))


async def show(context: Context, request: web.Request) -> web.StreamResponse:
    """One endpoint: its state, why, since when, and its settings without anything secret."""
    record = await context.get(_tenant(request), _endpoint_id(request))
    return _answer(shown(record, context.ring))


async def change(context: Context, request: web.Request) -> web.StreamResponse:
    """Some settings anew. `If-Match` makes it depend on the version that was read."""
    given = await body_of(request, EndpointPatch)
    fields = given.model_dump(exclude_none=True)
    if (version := request.headers.get("if-match", "*").strip()) != "*":
        fields["if_version"] = version.removeprefix("W/").strip('"')
        if not reading.is_version(fields["if_version"]):
            raise Refusal(Kind.OUTDATED, "if-match is not a version of this endpoint")
    return await _written(context, request, _endpoint_id(request), "endpoint.changed", fields)


async def unregister(context: Context, request: web.Request) -> web.StreamResponse:
    """Unregister: nothing is sent any more, and waiting retries end with a result that says so."""
    endpoint_id = _endpoint_id(request)
    record, _ = await context.change(_tenant(request), endpoint_id, {"type": "endpoint.unregistered"})
    return no_content() if record is not None else answer(Accepted(endpoint_id=endpoint_id), 202)


async def rotate(context: Context, request: web.Request) -> web.StreamResponse:
    """A new secret; both sign until the overlap ends. It is shown this once."""
    given = await body_of(request, Rotation, optional=True)
    secret = given.secret or new_secret()
    fields = {"secret": secret, "overlap_ms": given.overlap_ms}
    told = None if secret.startswith("sealed:") else secret
    return await _written(context, request, _endpoint_id(request), "secret.rotated", fields, secret=told)


async def test(context: Context, request: web.Request) -> web.StreamResponse:
    """Deliver one `hookfold.test` event to this endpoint alone."""
    tenant, endpoint_id = _tenant(request), _endpoint_id(request)
    record = await context.get(tenant, endpoint_id)
    if record.current.state is not State.ACTIVE:
        raise Refusal(Kind.CONFLICT, f"the endpoint is {record.current.state.value}")
    event_id = f"test-{uuid.uuid4()}"
    data = b'{"message":"This is a test."}'
    (event,) = await context.sealed(tenant, [Event(tenant, event_id, TEST, data)])
    owed = Delivery(
        delivery_id=reading.delivery_id(tenant, event_id, endpoint_id),
        event_id=event_id,
        event_type=TEST,
        tenant=tenant,
        endpoint_id=endpoint_id,
        endpoint_version=record.settings_version,
        event_time_ms=clock.now_ms(),
        data_content_type="application/json",
        sealed_with=event.sealed.key_id if event.sealed is not None else None,
        data=event.sealed.data if event.sealed is not None else data,
    )
    await context.send(topics.DELIVERIES, owed.key.decode(), owed.data, owed.headers())
    return answer(TestOwed(delivery_id=owed.delivery_id, event_id=event_id), 202)


def writes(
    kind: str, summary: str, model: type[Record] | None = None, *, optional: bool = False, **more: Any
) -> Callable[[Context, web.Request], Awaitable[web.StreamResponse]]:
    """A call that is one change, with the fields of its body."""

    async def write(context: Context, request: web.Request) -> web.StreamResponse:
        given = await body_of(request, model, optional=optional) if model is not None else None
        fields = given.model_dump(exclude_none=True) if given is not None else {}
        return await _written(context, request, _endpoint_id(request), kind, {**fields, **more})

    write.__doc__ = summary
    return write


def new_secret() -> str:
    """A secret that nobody else has."""
    return keys.SHARED + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def _written(
    context: Context,
    request: web.Request,
    endpoint_id: str,
    kind: str,
    fields: dict[str, Any],
    *,
    status: int = 200,
    secret: str | None = None,
) -> web.StreamResponse:
    tenant = _tenant(request)
    record, _ = await context.change(tenant, endpoint_id, {**fields, "type": kind})
    if record is None or record.current.settings is None:
        # It is in the log; what came of it is not seen yet.
        return answer(Accepted(endpoint_id=endpoint_id, secret=secret), 202)
    return _answer(EndpointWithSecret(**shown(record, context.ring).model_dump(), secret=secret), status)


def _answer(model: EndpointShown, status: int = 200) -> web.Response:
    return answer(model, status, etag=f'"{model.version}"')


def _tenant(request: web.Request) -> str:
    return request.match_info["tenant"]


def _endpoint_id(request: web.Request) -> str:
    return request.match_info["endpoint_id"]


_ANSWERS: dict[int, type[BaseModel] | None] = {200: EndpointShown, 202: Accepted}
_WRITE = (Kind.NOT_FOUND, Kind.CONFLICT, Kind.INVALID, Kind.UNAVAILABLE)
CALLS = (
    Call(
        "POST",
        PATH,
        "write",
        "register an endpoint",
        register,
        {201: EndpointWithSecret, 202: Accepted},
        Registration,
        problems=(Kind.CONFLICT, Kind.UNAVAILABLE),
    ),
    Call("GET", PATH, "read", "list endpoints", list_endpoints, {200: EndpointPage}, query=EndpointQuery),
    Call("GET", ONE, "read", "show an endpoint", show, {200: EndpointShown}, problems=(Kind.NOT_FOUND,)),
    Call(
        "PATCH",
        ONE,
        "write",
        "change an endpoint",
        change,
        _ANSWERS,
        EndpointPatch,
        headers={"If-Match": "the version that must still be the endpoint's: an ETag"},
        problems=(*_WRITE, Kind.OUTDATED),
    ),
    Call("DELETE", ONE, "write", "unregister an endpoint", unregister, {204: None, 202: Accepted}, problems=_WRITE),
    Call(
        "POST",
        ONE + "/verify",
        "write",
        "verify an endpoint (again)",
        writes("endpoint.verification_requested", "Ask the receiver again whether it wants what is sent to it."),
        _ANSWERS,
        problems=_WRITE,
    ),
    Call(
        "POST",
        ONE + "/pause",
        "write",
        "pause an endpoint",
        writes("endpoint.paused", "Deliver nothing until it is resumed.", Pause, optional=True),
        _ANSWERS,
        Pause,
        optional=True,
        problems=_WRITE,
    ),
    Call(
        "POST",
        ONE + "/resume",
        "write",
        "resume an endpoint",
        writes(
            "endpoint.resumed", "Deliver again, and what was skipped where that is asked for.", Resume, optional=True
        ),
        _ANSWERS,
        Resume,
        optional=True,
        problems=_WRITE,
    ),
    Call(
        "POST",
        ONE + "/disable",
        "write",
        "disable an endpoint",
        writes("endpoint.disabled", "Deliver nothing any more; a resume undoes it.", reason="operator"),
        _ANSWERS,
        problems=_WRITE,
    ),
    Call(
        "POST",
        ONE + "/rotate-secret",
        "write",
        "rotate the secret",
        rotate,
        {200: EndpointWithSecret, 202: Accepted},
        Rotation,
        optional=True,
        problems=_WRITE,
    ),
    Call("POST", ONE + "/test", "write", "send a test event", test, {202: TestOwed}, problems=_WRITE),
    Call(
        "POST",
        ONE + "/subscriptions",
        "write",
        "add a subscription",
        writes("subscription.added", "One subscription more.", NewSubscription),
        _ANSWERS,
        NewSubscription,
        problems=_WRITE,
    ),
    Call(
        "DELETE",
        ONE + "/subscriptions",
        "write",
        "remove a subscription",
        writes("subscription.removed", "The subscription with the same event types and filter ends.", Subscription),
        _ANSWERS,
        Subscription,
        problems=_WRITE,
    ),
)
