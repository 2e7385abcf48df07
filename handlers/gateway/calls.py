"""What a call of the API is: one value that the router of requests, the rules and the OpenAPI document go by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from handlers.gateway.problems import Handler, Kind, Refusal
from handlers.gateway.tokens import Scope
from schemas.model import first_line
from streams import metrics

if TYPE_CHECKING:
    from handlers.gateway.context import Context

Model = TypeVar("Model", bound=BaseModel)
Handle = Callable[["Context", web.Request], Awaitable[web.StreamResponse]]

TENANT_PATH = "/v1/tenants/{tenant}"


@dataclass(frozen=True)
class Call:
    """One call under a tenant. `answers`: the model of each status that is a success; `problems`: besides the usual.

    `bodies`: models by content type, for the document; `body` is the one of JSON. `optional`: the body may be absent.
    """

    method: str
    path: str
    scope: Scope
    summary: str
    handle: Handle
    answers: Mapping[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    optional: bool = False
    bodies: Mapping[str, type[BaseModel] | list[type[BaseModel]]] = field(default_factory=dict)
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Kind, ...] = ()


def counted(name: str, handle: Handler) -> Handler:
    """The same, with its answers counted by status."""

    async def count(request: web.Request) -> web.StreamResponse:
        status = Kind.INTERNAL.status
        try:
            answered = await handle(request)
            status = answered.status
            return answered
        except Refusal as refusal:
            status = refusal.kind.status
            raise
        except web.HTTPException as problem:
            status = problem.status
            raise
        finally:
            metrics.CALLS.labels(name, str(status)).inc()

    return count


async def body_of(request: web.Request, model: type[Model], *, optional: bool = False) -> Model:
    """The request's body; where it is optional, none is an empty object. Raises `Refusal`."""
    raw = await request.read()
    if not raw and not optional:
        raise Refusal(Kind.BAD_REQUEST, "there is no body")
    media_type = request.headers.get("content-type", "application/json").split(";", 1)[0].strip().lower()
    if raw and media_type != "application/json" and not media_type.endswith("+json"):
        raise Refusal(Kind.UNSUPPORTED, "the body is JSON: content-type application/json")
    try:
        orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError:
        raise Refusal(Kind.BAD_REQUEST, "the body is not JSON") from None
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as problem:
        raise Refusal(Kind.INVALID, first_line(problem)) from None


def query_of(request: web.Request, model: type[Model]) -> Model:
    """The request's query. Raises `Refusal`."""
    try:
        return model.model_validate(dict(request.query), strict=False)
    except ValidationError as problem:
        raise Refusal(Kind.INVALID, first_line(problem)) from None


def answer(model: BaseModel, status: int = 200, **headers: str) -> web.Response:
    """A success. Nothing here is for caches."""
    shown = model.model_dump(mode="json", exclude_none=True)
    if "next_cursor" in type(model).model_fields:
        shown.setdefault("next_cursor", None)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        status=status,
        body=orjson.dumps(shown),
        content_type="application/json",
        headers={"cache-control": "no-store", **named},
    )


def no_content() -> web.Response:
    """Done, and nothing to say."""
    return web.Response(status=204)
