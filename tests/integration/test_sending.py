"""OAuth 2.0 and client certificates, against real token endpoints and TLS servers."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from aiohttp import BasicAuth as Basic
from aiohttp import web

from handlers.egress.client import Answer, Client
from handlers.egress.exchange import Request
from handlers.egress.sending import Sender
from schemas.endpoints import EndpointSettings
from schemas.results import ErrorKind
from schemas.settings import EgressSettings
from streams.core import certificates

OPEN = EgressSettings(allow_http=True, allow_networks="127.0.0.0/8")


class Server:
    """A token endpoint and a receiver that lets in who has one of its tokens."""

    def __init__(self) -> None:
        self.asked: list[tuple[Basic, dict[str, list[str]]]] = []
        self.posts: list[str] = []
        self.valid: set[str] = set()
        self.expires_in: Any = 3_600
        self.refuses = False
        self.slow_s = 0.0

    async def token(self, request: web.Request) -> web.Response:
        self.asked.append((Basic.decode(request.headers["authorization"]), parse_qs((await request.read()).decode())))
        await asyncio.sleep(self.slow_s)
        if self.refuses:
            return web.json_response({"error": "invalid_client", "secret": "told"}, status=400)
        token = f"token-{len(self.asked)}"
        self.valid.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in})

    async def post(self, request: web.Request) -> web.Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.posts.append(token)
        return web.Response(status=204 if token in self.valid else 401)


@asynccontextmanager
async def serving(server: Server, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.post("/token", server.token), web.post("/in", server.post)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def endpoint(url: str, **auth: Any) -> EndpointSettings:
    return EndpointSettings.model_validate({"url": url + "/in", "subscriptions": (), "secrets": (), "auth": auth})


def oauth2(url: str, **more: Any) -> EndpointSettings:
    return endpoint(
        url, kind="oauth2", token_url=url + "/token", client_id="a:b", client_secret="s e+c", scope="x y", **more
    )


@asynccontextmanager
async def sending(settings: EndpointSettings) -> AsyncIterator[Callable[[], Any]]:
    async with Client(OPEN) as client:
        sender = Sender(client, "Hookfold/test")

        async def send(timeout_ms: int = 2_000) -> Answer:
            return await sender.send(Request(settings.url, [], b"{}", timeout_ms), settings)

        yield send


async def test_a_token_is_fetched_once_for_many_and_kept() -> None:
    server = Server()
    server.slow_s = 0.1
    async with serving(server) as url, sending(oauth2(url)) as send:
        answers = await asyncio.gather(*(send() for _ in range(20)))
        answers.append(await send())
    assert all(answer.outcome.accepted for answer in answers)
    assert answers[0].outcome.latency_ms >= 100
    ((client, form),) = server.asked
    assert (client.login, client.password) == ("a%3Ab", "s+e%2Bc")
    assert form == {"grant_type": ["client_credentials"], "scope": ["x y"]}
    assert set(server.posts) == {"token-1"}


async def test_one_that_is_about_to_end_is_fetched_anew() -> None:
    server = Server()
    server.expires_in = "1"
    async with serving(server) as url, sending(oauth2(url)) as send:
        await send()
        await asyncio.sleep(0.85)
        assert (await send()).outcome.accepted
    assert server.posts == ["token-1", "token-2"]


async def test_one_that_is_refused_is_fetched_anew_once() -> None:
    server = Server()
    async with serving(server) as url, sending(oauth2(url)) as send:
        await send()
        server.valid.clear()
        assert (await send()).outcome.accepted
        assert server.posts == ["token-1", "token-1", "token-2"]
        server.valid = Never()
        answer = await send()
    assert (answer.outcome.error_kind, answer.outcome.status_code) == (ErrorKind.STATUS, 401)
    assert len(server.posts) == 5


class Never(set[str]):
    """Lets nobody in."""

    def __contains__(self, _: object) -> bool:
        return False


async def test_without_a_token_nothing_is_posted_and_what_was_said_is_not_told() -> None:
    server = Server()
    server.refuses = True
    async with serving(server) as url, sending(oauth2(url)) as send:
        answer = await send()
        assert (answer.outcome.error_kind, answer.outcome.error) == (
            ErrorKind.STATUS,
            "no token: the receiver answered 400",
        )
        assert "told" not in repr(answer)
        server.refuses = False
        assert (await send()).outcome.accepted
    assert server.posts == ["token-2"]


async def test_the_deadline_spans_the_token() -> None:
    server = Server()
    server.slow_s = 5.0
    began = time.monotonic()
    async with serving(server) as url, sending(oauth2(url)) as send:
        answer = await send(timeout_ms=300)
        assert time.monotonic() - began < 2
    assert answer.outcome.error_kind is ErrorKind.TIMEOUT


async def test_a_token_endpoint_out_of_reach_is_not_asked() -> None:
    settings = oauth2("http://127.0.0.1:9")
    async with Client(EgressSettings(allow_http=True)) as client:
        answer = await Sender(client, "H").send(Request(settings.url, [], b"", 500), settings)
    assert answer.outcome.error_kind is ErrorKind.BLOCKED


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


def mtls(url: str, leaf: trustme.LeafCert) -> EndpointSettings:
    certificate = b"".join(part.bytes() for part in leaf.cert_chain_pems).decode()
    key = leaf.private_key_pem.bytes().decode()
    assert certificates.refuse(certificate, key) is None
    return endpoint(url, kind="mtls", certificate=certificate, private_key=key)


async def test_a_client_certificate_opens_the_door(authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = Server()
    server.valid.add("")

    async def let_in(request: web.Request) -> web.Response:
        server.posts.append(str(request.transport and request.transport.get_extra_info("peercert")["subject"]))
        return web.Response(status=204)

    server.post = let_in  # type: ignore[method-assign]
    async with serving(server, context) as url:
        async with sending(mtls(url, authority.issue_cert("client@hookfold.example"))) as send:
            assert [(await send()).outcome.accepted for _ in range(2)] == [True, True]
        async with sending(mtls(url, trustme.CA().issue_cert("stranger@hookfold.example"))) as send:
            assert not (await send()).outcome.accepted
        async with sending(endpoint(url, kind="bearer", token="x")) as send:
            assert not (await send()).outcome.accepted
    assert len(server.posts) == 2


def test_certificates_that_do_not_fit_are_refused_without_being_repeated(authority: trustme.CA) -> None:
    one, other = authority.issue_cert("a@hookfold.example"), authority.issue_cert("b@hookfold.example")
    chain = one.cert_chain_pems[0].bytes().decode()
    key, another = (leaf.private_key_pem.bytes().decode() for leaf in (one, other))
    for certificate, private_key, line in (
        ("", key, "auth.certificate is not"),
        ("geheim", key, "auth.certificate is not"),
        (key, key, "auth.certificate is not"),
        (chain, "", "auth.private_key is not"),
        (chain, "geheim", "auth.private_key is not"),
        (chain, another, "is not the key of the first certificate"),
    ):
        refused = certificates.refuse(certificate, private_key)
        assert refused is not None
        assert line in refused
        assert "geheim" not in refused
