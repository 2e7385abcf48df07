"""Problems as RFC 9457 has them: one place where each is named, so that its type stays what it is."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from enum import Enum

from aiohttp import web

from schemas.api import Problem

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Kind(Enum):
    """Type, status and title."""

    BAD_REQUEST = ("bad-request", 400, "The request cannot be read")
    UNAUTHORIZED = ("unauthorized", 401, "A valid token is needed")
    UNVERIFIED = ("unverified", 401, "The request is not the source's")
    FORBIDDEN = ("forbidden", 403, "The token's scope does not allow this")
    NOT_FOUND = ("not-found", 404, "There is no such thing")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "There is no such call")
    CONFLICT = ("conflict", 409, "This cannot be done now")
    OUTDATED = ("outdated", 412, "The endpoint has changed since")
    TOO_LARGE = ("too-large", 413, "The body is too large")
    UNSUPPORTED = ("unsupported-media-type", 415, "The content type is not one that is read here")
    INVALID = ("invalid", 422, "The request is not valid")
    TOO_MANY = ("too-many-requests", 429, "Too many requests")
    INTERNAL = ("internal", 500, "A fault of Hookfold's own")
    UNAVAILABLE = ("unavailable", 503, "This cannot be done just now")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.value[1])


class Refusal(Exception):
    """A call that ends with a problem. `detail` is one line for the caller; `retry_after_s` where waiting helps.

    `authenticate`: the scheme that a 401 asks for.
    """

    def __init__(
        self, kind: Kind, detail: str, *, retry_after_s: int | None = None, authenticate: str = "Bearer"
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.authenticate = authenticate

    def response(self) -> web.Response:
        """The answer."""
        name, status, title = self.kind.value
        problem = Problem(type=f"urn:hookfold:problem:{name}", title=title, status=status, detail=self.detail)
        headers = {"cache-control": "no-store"}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        if status == Kind.UNAUTHORIZED.status:
            headers["www-authenticate"] = self.authenticate
        body = problem.model_dump_json(exclude_none=True).encode()
        return web.Response(status=status, body=body, content_type=CONTENT_TYPE, headers=headers)


@web.middleware
async def as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into its problem; a fault of our own is logged and told without its words."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return refusal.response()
    except web.HTTPRequestEntityTooLarge:
        return Refusal(Kind.TOO_LARGE, "the body is larger than this gateway takes").response()
    except web.HTTPMethodNotAllowed as problem:
        allowed = ", ".join(sorted(problem.allowed_methods))
        response = Refusal(Kind.METHOD_NOT_ALLOWED, f"allowed here: {allowed}").response()
        response.headers["allow"] = allowed
        return response
    except (web.RequestPayloadError, ConnectionResetError, UnicodeError):
        return Refusal(Kind.BAD_REQUEST, "the request cannot be read to its end, or is not UTF-8").response()
    except web.HTTPNotFound:
        return Refusal(Kind.NOT_FOUND, "there is nothing here").response()
    except web.HTTPException as problem:
        if problem.status < 400:
            raise
        return Refusal(Kind.BAD_REQUEST, "the request is not HTTP as we read it").response()
    except Exception as problem:
        # The words of a fault may hold what was sent to us; its kind and place are told.
        resource = request.match_info.route.resource
        logger.error(
            "gateway.faulted method=%s path=%s problem=%s",
            request.method,
            resource.canonical if resource is not None else "",
            _place_of(problem),
        )
        return Refusal(Kind.INTERNAL, "its log says more").response()


async def expected(request: web.Request) -> web.StreamResponse | None:
    """What is said to an `Expect` header: go on, or a problem."""
    if request.headers.get("expect", "").lower() != "100-continue":
        return Refusal(Kind.BAD_REQUEST, "an expectation other than 100-continue cannot be met").response()
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None


def _place_of(problem: BaseException) -> str:
    frames = traceback.extract_tb(problem.__traceback__)
    return " < ".join([type(problem).__name__, *(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))])
