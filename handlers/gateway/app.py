"""The gateway's web application: who may call what, how often, and how large; then the call itself."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

from aiohttp import web

from handlers.gateway import (
    again,
    asyncapi,
    deliveries,
    endpoints,
    erasing,
    events,
    explaining,
    inbound,
    openapi,
    sources,
    tokens,
)
from handlers.gateway.calls import Call, counted
from handlers.gateway.context import Context, Rate
from handlers.gateway.problems import Handler, Kind, Refusal, as_problems, expected
from handlers.gateway.tokens import BadToken
from schemas.model import is_identifier

CALLS: tuple[Call, ...] = (
    *endpoints.CALLS,
    *sources.CALLS,
    *deliveries.CALLS,
    *events.CALLS,
    *explaining.CALLS,
    *again.CALLS,
    *erasing.CALLS,
)

_DOCS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Hookfold</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="ui"></div><script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script></body></html>
"""
_START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true});\n'
#: Nothing from elsewhere: the page works offline, and nobody is told who reads it.
_DOCS_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


def make(context: Context) -> web.Application:
    """The application with every call of the API and its description."""
    app = web.Application(
        middlewares=[as_problems], client_max_size=context.settings.max_body_bytes, handler_args={"access_log": None}
    )
    rate = Rate(context.settings.gateway_rate_per_s)
    for call in CALLS:
        app.router.add_route(call.method, call.path, _guarded(call, context, rate), expect_handler=expected)
    inbound.add(app, context, Rate(context.settings.gateway_rate_per_s))
    _describe(app, asyncapi.document(context.settings))
    return app


def _guarded(call: Call, context: Context, rate: Rate) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        bearer = _bearer(request, context.settings.api_secrets)
        tenant = request.match_info["tenant"]
        if not is_identifier(tenant) or not bearer.reaches(tenant):
            raise Refusal(Kind.NOT_FOUND, "there is nothing here")
        if not bearer.may(call.scope):
            raise Refusal(Kind.FORBIDDEN, f"this needs the scope {call.scope}")
        rate.take(tenant)
        for kind in ("endpoint", "source"):
            if not is_identifier(request.match_info.get(f"{kind}_id", "-")):
                raise Refusal(Kind.NOT_FOUND, f"there is no such {kind}")
        return await call.handle(context, request)

    return counted(f"{call.method} {call.path}", handle)


def _bearer(request: web.Request, secrets: tuple[str, ...]) -> tokens.Bearer:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refusal(Kind.UNAUTHORIZED, "authorization: Bearer and a token are needed")
    try:
        return tokens.read(token.strip(), secrets, now_s=time.time())
    except BadToken as problem:
        raise Refusal(Kind.UNAUTHORIZED, str(problem)) from None


def _describe(app: web.Application, topics: bytes) -> None:
    document = openapi.document(CALLS)
    found = importlib.util.find_spec("swagger_ui")
    assert found is not None
    assert found.origin is not None
    static = Path(found.origin).parent / "static"

    async def described(request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    async def topics_described(request: web.Request) -> web.Response:
        return web.Response(body=topics, content_type="application/json")

    async def docs(request: web.Request) -> web.Response:
        headers = {"content-security-policy": _DOCS_POLICY}
        return web.Response(text=_DOCS, content_type="text/html", headers=headers)

    async def start(request: web.Request) -> web.Response:
        return web.Response(text=_START, content_type="text/javascript")

    async def asset(request: web.Request) -> web.FileResponse:
        return web.FileResponse(static / request.match_info["name"])

    app.router.add_get("/openapi.json", described)
    app.router.add_get("/asyncapi.json", topics_described)
    app.router.add_get("/docs", docs)
    app.router.add_get("/docs/start.js", start)
    app.router.add_get("/docs/{name:swagger-ui-bundle\\.js|swagger-ui\\.css}", asset)
