"""What a user has: a plain Kafka client, an HTTP server, and the official verifier. Nothing of ours is imported."""

import asyncio
import base64
import io
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import ClientSession, web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from standardwebhooks.webhooks import Webhook
from yarl import URL

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ok!").decode()


@dataclass
class Post:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float
    query: dict[str, str]
    method: str = "POST"

    def verify(self, secret: str = SECRET) -> Any:
        """The body, verified by the official library. Raises where the signature is bad."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Answer:
    """What a receiver says, where a status is not enough."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Receiver:
    """Answers 204, or what `answers[path]` says: a status, or a function of the post. Waits for `hold[path]`.

    `port`: 0 is any.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.posts: list[Post] = []
        self.answers: dict[str, int | Callable[[Post], int | Answer]] = {}
        self.hold: dict[str, asyncio.Event] = {}
        self.delay_s = 0.0
        self._begun: list[str] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(request.query)
        post = Post(request.path, headers, await request.read(), time.time(), query, request.method)
        self.posts.append(post)
        self._begun.append(request.path)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if (held := self.hold.get(request.path)) is not None:
            await held.wait()
        answer = self.answers.get(request.path, 204)
        said = answer if isinstance(answer, int) else answer(post)
        told = Answer(said) if isinstance(said, int) else said
        return web.Response(status=told.status, body=told.body, headers=told.headers)

    def begun(self, path: str) -> list[str]:
        """The requests to one path, answered or not."""
        return [one for one in self._begun if one == path]

    def at(self, path: str) -> list[Post]:
        """The posts to one path."""
        return [post for post in self.posts if post.path == path]


class Client:
    """Produces changes and events, and collects what Hookfold writes, under read_committed."""

    def __init__(self, kafka: str, prefix: str, patient_ms: int = 40_000, *, gives_up: bool = False) -> None:
        """`patient_ms`: how long an answer is waited for; `gives_up`: a record not taken by then counts as not sent."""
        self._kafka = kafka
        self._patient_ms = patient_ms
        self._gives_up = gives_up
        self.prefix = prefix
        self.records: dict[str, list[Any]] = defaultdict(list)
        self._readers: dict[str, tuple[AIOKafkaConsumer, asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka,
            enable_idempotence=not self._gives_up,  # an idempotent producer tries for ever
            acks="all",
            max_request_size=9_000_000,
            request_timeout_ms=self._patient_ms,
        )
        await self.producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.producer.stop()
        for consumer, task in self._readers.values():
            task.cancel()
            await asyncio.wait([task])
            await consumer.stop()

    async def change(self, tenant: str, kind: str, endpoint_id: str, **fields: Any) -> Any:
        """Produce a change and wait for Kafka's word."""
        value = json.dumps({"type": kind, "endpoint_id": endpoint_id, **fields}).encode()
        return await self.producer.send_and_wait(self.prefix + "subscriptions", value, key=tenant.encode())

    async def register(self, tenant: str, endpoint_id: str, url: str, **fields: Any) -> Any:
        """Register an endpoint for every event type, active at once."""
        given = {
            "url": url,
            "subscriptions": [{"event_types": ["*"]}],
            "secrets": [SECRET],
            "verification": "none",
            **fields,
        }
        return await self.change(tenant, "endpoint.registered", endpoint_id, **given)

    async def event(self, tenant: str, data: Any, kind: str = "invoice.paid", **fields: Any) -> Any:
        """Produce a plain event and wait for Kafka's word."""
        value = json.dumps({"type": kind, "data": data, **fields}).encode()
        return await self.producer.send_and_wait(self.prefix + "events", value, key=tenant.encode())

    async def follow(self, *topics: str) -> None:
        """Begin to collect topics from their start into `records`."""
        for topic in topics:
            consumer = AIOKafkaConsumer(
                self.prefix + topic,
                bootstrap_servers=self._kafka,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                group_id=None,
                max_partition_fetch_bytes=12_000_000,
            )
            await consumer.start()
            self._readers[topic] = (consumer, asyncio.create_task(self._collect(topic, consumer)))

    async def _collect(self, topic: str, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            self.records[topic].append(record)

    def results(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's results so far, in the order of the log within a partition."""
        mine = f"{tenant}/".encode()
        return [json.loads(record.value) for record in self.records["results"] if record.key.startswith(mine)]


async def until(condition: Callable[[], bool], timeout_s: float = 30.0, what: str = "condition") -> None:
    """Wait for a condition; fail with its name after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        await asyncio.sleep(0.02)


def tenant_name() -> str:
    """A tenant that no other test has."""
    return "t-" + os.urandom(6).hex()


@dataclass
class Said:
    """An answer of the HTTP API."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


class Api:
    """The HTTP API as any client calls it: a base URL and a token."""

    def __init__(self, url: str, token: str, tenant: str) -> None:
        self.url = url
        self.token = token
        self.tenant = tenant

    async def __aenter__(self) -> Self:
        self._session = ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Said:
        """Call a path under the tenant's own, or a whole one that begins with `//`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            named.setdefault("authorization", f"Bearer {self.token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            named.setdefault("content-type", "application/json")
        url = self.url + (path[1:] if path.startswith("//") else f"/v1/tenants/{self.tenant}{path}")
        async with self._session.request(
            method,
            URL(url, encoded=True),
            data=None if body is None else io.BytesIO(body),
            headers=named,
            skip_auto_headers=["content-type"],
        ) as answer:
            raw = await answer.read()
            return Said(answer.status, {name.lower(): value for name, value in answer.headers.items()}, raw)

    async def ok(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """The JSON of a call that has to succeed."""
        said = await self.call(method, path, body, **headers)
        assert said.status == status, (said.status, said.raw)
        return said.json if said.raw else None


def registration(receiver: Receiver, **more: Any) -> dict[str, Any]:
    """The body of a registration, active at once."""
    return {
        "url": receiver.url + "/in",
        "subscriptions": [{"event_types": ["invoice.*"]}],
        "verification": "none",
        **more,
    }


async def deliveries(api: Api, count: int, query: str = "") -> list[dict[str, Any]]:
    """What the API lists, once it lists so many."""
    found: list[dict[str, Any]] = []

    async def enough() -> bool:
        found[:] = (await api.ok("GET", f"/deliveries{query}"))["items"]
        return len(found) >= count

    end = time.monotonic() + 20
    while not await enough():
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)
    return found
