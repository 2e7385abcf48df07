"""A request with what its endpoint's `auth` needs besides headers: a token that is fetched, or a client certificate."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from handlers.egress.client import Answer, Client
from handlers.egress.exchange import Request
from handlers.wire import granting
from handlers.wire.granting import Grant
from schemas.changes import MtlsAuth, OAuth2Auth
from schemas.endpoints import EndpointSettings
from schemas.results import ErrorKind
from streams.lane import clock

MAX_KEPT = 10_000
UNAUTHORIZED = 401


class Sender:
    """Sends requests for endpoints. Tokens and certificates are kept by all that they are made of."""

    def __init__(self, client: Client, user_agent: str) -> None:
        self._client = client
        self._user_agent = user_agent
        self._grants: OrderedDict[bytes, asyncio.Task[Grant | Answer]] = OrderedDict()
        self._contexts: OrderedDict[bytes, ssl.SSLContext] = OrderedDict()

    async def send(self, request: Request, settings: EndpointSettings) -> Answer:
        """The answer to the request, all that leads to it within its one deadline."""
        match settings.auth:
            case OAuth2Auth() as auth:
                return await self._with_token(request, auth)
            case MtlsAuth() as auth:
                return await self._client.send(request._replace(context=self._context(auth)))
            case _:
                return await self._client.send(request)

    async def _with_token(self, request: Request, auth: OAuth2Auth) -> Answer:
        """A token that was kept and is refused is fetched anew, once."""
        began = time.monotonic()
        for again in (True, False):
            granted, kept = await self._grant(auth, _left(request, began))
            if isinstance(granted, Answer):
                return _whole(granted, began)
            headers = [*request.headers, ("authorization", f"Bearer {granted.token}")]
            answer = await self._client.send(request._replace(headers=headers, timeout_ms=_left(request, began)))
            if not (again and kept and answer.outcome.status_code == UNAUTHORIZED):
                break
            self._forget(auth, granted)
        return _whole(answer, began)

    async def _grant(self, auth: OAuth2Auth, timeout_ms: int) -> tuple[Grant | Answer, bool]:
        """The token, and whether it had been kept. All who need it at a time wait for the same request."""
        name = _name(auth)
        task = self._grants.get(name)
        kept = task is not None and not _is_over(task)
        if task is None or not kept:
            task = self._grants[name] = asyncio.get_running_loop().create_task(self._fetch(auth, timeout_ms))
            if len(self._grants) > MAX_KEPT:
                self._grants.popitem(last=False)
        return await asyncio.shield(task), kept

    async def _fetch(self, auth: OAuth2Auth, timeout_ms: int) -> Grant | Answer:
        headers, body = granting.ask(auth, self._user_agent)
        answer = await self._client.send(Request(auth.token_url, headers, body, timeout_ms))
        if answer.outcome.accepted and (granted := granting.read(answer.body, clock.now_ms())) is not None:
            return granted
        kind = answer.outcome.error_kind or ErrorKind.PROTOCOL
        line = f"no token: {answer.outcome.error or 'the token endpoint did not answer with a bearer token'}"
        # What a token endpoint says may hold a secret; and its status is not the receiver's.
        told = replace(answer.outcome, error_kind=kind, error=line, response_excerpt=None, status_code=None)
        return Answer(told)

    def _forget(self, auth: OAuth2Auth, grant: Grant) -> None:
        name = _name(auth)
        task = self._grants.get(name)
        if task is not None and task.done() and not _is_over(task) and task.result() == grant:
            del self._grants[name]

    def _context(self, auth: MtlsAuth) -> ssl.SSLContext:
        name = hashlib.sha256(f"{auth.certificate}\0{auth.private_key}".encode()).digest()
        context = self._contexts.get(name)
        if context is None:
            context = ssl.create_default_context()
            with _as_file(f"{auth.private_key}\n{auth.certificate}") as path:
                context.load_cert_chain(path)
            self._contexts[name] = context
            if len(self._contexts) > MAX_KEPT:
                self._contexts.popitem(last=False)
        return context


@contextlib.contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path to the text; OpenSSL reads keys from nowhere else. In memory where the system can."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("hookfold")
        try:
            os.write(handle, text.encode())
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        yield file.name


def _left(request: Request, began: float) -> int:
    return max(1, request.timeout_ms - int((time.monotonic() - began) * 1000))


def _whole(answer: Answer, began: float) -> Answer:
    latency_ms = int((time.monotonic() - began) * 1000)
    return answer._replace(outcome=replace(answer.outcome, latency_ms=latency_ms))


def _is_over(task: asyncio.Task[Grant | Answer]) -> bool:
    """True where a fetch has brought no token, or one that is not used any more."""
    if not task.done():
        return False
    if task.cancelled() or task.exception() is not None:
        return True
    known = task.result()
    return isinstance(known, Answer) or known.until_ms <= clock.now_ms()


def _name(auth: OAuth2Auth) -> bytes:
    parts = (auth.token_url, auth.client_id, auth.client_secret, auth.scope or "")
    return hashlib.sha256("\0".join(parts).encode()).digest()
