"""The real stack as a user runs it: processes, a real Kafka, real sockets; nothing of ours is imported here."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from plain import Api, Client, Receiver, tenant_name, until
from sealed import RING
from stack import API_SECRET, SERVICES, Stack
from third_party import SECRET, Source

#: Those that end with the module that made them.
_STACKS: list[Stack] = []


@pytest.fixture(scope="session")
def make_stack(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Makes stacks with topics of their own. They end with the module that made them, or with the test run."""
    numbers = itertools.count()

    def make(**settings: str) -> Stack:
        stack = Stack(kafka, f"a{os.getpid()}-{next(numbers)}.", tmp_path_factory.mktemp("stack"), **settings)
        _STACKS.append(stack)
        made = stack.command("topics")
        assert made.returncode == 0, made.stderr
        return stack

    yield make
    _end_stacks()


@pytest.fixture(scope="module", autouse=True)
def _end_own_stacks() -> Iterator[None]:
    """What a module has started takes nothing from the next."""
    yield
    _end_stacks()


def _end_stacks() -> None:
    while _STACKS:
        _STACKS.pop().close()


@pytest.fixture(scope="session")
def stack(make_stack: Callable[..., Stack]) -> Iterator[Stack]:
    """One running stack that tests share; each test uses tenants of its own."""
    shared = make_stack()
    _STACKS.remove(shared)
    shared.start(*SERVICES)
    shared.wait_ready(*SERVICES)
    yield shared
    shared.close()


@pytest.fixture(scope="session")
def make_token(stack: Stack) -> Callable[..., str]:
    """A token as `hookfold token` makes it."""

    def make(tenant: str | None, *scopes: str, **settings: str) -> str:
        words = [*(["--tenant", tenant] if tenant else []), *(word for scope in scopes for word in ("--scope", scope))]
        made = stack.command("token", *words, **settings)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    return make


@pytest.fixture(scope="session")
def make_api(stack: Stack) -> Callable[..., Api]:
    """A client of the shared stack's gateway, which is started when the first one is made."""
    stack.start("gateway")
    stack.wait_ready("gateway")

    def make(tenant: str, *scopes: str) -> Api:
        claims = {"tenant": tenant, "scope": " ".join(scopes), "exp": int(time.time()) + 600}
        token = jwt.encode(claims, API_SECRET, "HS256") if scopes else ""
        return Api(f"http://127.0.0.1:{stack.ports['gateway']}", token, tenant)

    return make


@pytest.fixture
async def api(make_api: Callable[..., Api]) -> AsyncIterator[Api]:
    """A client with a tenant of its own, that may do what tenants may."""
    async with make_api(tenant_name(), "write", "publish") as client:
        yield client


@pytest.fixture
async def alone(started: Callable[..., Awaitable[Stack]], tmp_path: Path) -> Stack:
    """A running stack that nobody else has, whose processes keep their data in `tmp_path/data`."""
    return await started(HOOKFOLD_DATA_DIR=str(tmp_path / "data"))


@pytest.fixture
async def started(make_stack: Callable[..., Stack]) -> AsyncIterator[Callable[..., Awaitable[Stack]]]:
    """Starts a stack with settings of its own, which ends with the test."""
    running: list[Stack] = []

    async def start(**settings: str) -> Stack:
        own = make_stack(**settings)
        running.append(own)
        own.start(*SERVICES)
        await asyncio.to_thread(own.wait_ready, *SERVICES)
        return own

    yield start
    for own in running:
        await asyncio.to_thread(own.close)


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """A plain Kafka client on the shared stack's topics."""
    async with Client(stack.kafka, stack.prefix) as plain:
        yield plain


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A real HTTP server that notes what it gets."""
    async with Receiver() as server:
        yield server


@pytest.fixture
async def register(api: Api) -> Callable[..., Any]:
    """Registers a source, and returns the third party that it is."""

    async def put(scheme: str, source_id: str | None = None, **fields: Any) -> Source:
        await api.ok("PUT", f"/sources/{source_id or scheme}", {"scheme": scheme, "secrets": [SECRET], **fields}, 201)
        return Source(api, source_id or scheme)

    return put


@pytest.fixture
async def log(client: Client, api: Api) -> Callable[..., Any]:
    """Reads the tenant's events in the log, of which there have to be so many."""
    await client.follow("events")

    async def read(count: int) -> list[Any]:
        def mine() -> list[Any]:
            return [record for record in client.records["events"] if record.key == api.tenant.encode()]

        # What comes before the last one in its partition has come as well.
        await api.ok("POST", "/events", {"type": "end", "data": None}, 202)
        await until(lambda: any(b'"end"' in record.value for record in mine()), 20, "the last event")
        found = [record for record in mine() if b'"end"' not in record.value]
        assert len(found) == count, found
        return found

    return read


@pytest.fixture(scope="module")
def sealing(make_stack: Callable[..., Stack]) -> Stack:
    """A stack that seals payloads."""
    stack = make_stack(HOOKFOLD_SEAL_KEYS=RING, HOOKFOLD_SEAL_PAYLOADS="1", HOOKFOLD_LOG_LEVEL="debug")
    stack.start(*SERVICES, "gateway")
    stack.wait_ready(*SERVICES, "gateway")
    return stack


@pytest.fixture
async def plain(sealing: Stack) -> AsyncIterator[Client]:
    async with Client(sealing.kafka, sealing.prefix) as client:
        await client.follow("results")
        yield client


@pytest.fixture
async def apis(sealing: Stack) -> AsyncIterator[Callable[[], Any]]:
    """Makes clients with a tenant of their own, of whose data they are the master."""
    made: list[Api] = []

    async def make() -> Api:
        claims = {"scope": "admin", "exp": int(time.time()) + 600}
        api = Api(
            f"http://127.0.0.1:{sealing.ports['gateway']}", jwt.encode(claims, API_SECRET, "HS256"), tenant_name()
        )
        made.append(await api.__aenter__())
        return api

    yield make
    for api in made:
        await api.__aexit__()
