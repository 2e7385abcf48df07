"""One port for all workers of a service: alive, ready when all are, their counts, and for the router Faust's pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from prometheus_client import CONTENT_TYPE_LATEST
from yarl import URL

from compose.merging import Totals
from streams.lane.health import Health

ANSWER_TIMEOUT_S = 5.0
SILENT = {"worker": "does not answer"}


@dataclass(frozen=True)
class Answer:
    """What a worker said."""

    status: int
    body: bytes
    content_type: str

    def json(self) -> Any:
        """The body's JSON, or the text itself where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return self.body.decode(errors="replace")

    def response(self) -> web.Response:
        """The same, said by us."""
        return web.Response(status=self.status, body=self.body, headers={"content-type": self.content_type})


class WorkerPages:
    """Answers from `start` to `stop`; `ports` and `pids` are those of the workers, by name, once there are any."""

    def __init__(
        self,
        host: str,
        port: int,
        faust: bool,
        ports: Callable[[], Mapping[str, int]],
        pids: Callable[[], Mapping[str, int]],
    ) -> None:
        self._host = host
        self._port = port
        self._faust = faust
        self._ports = ports
        self._pids = pids
        self._totals = Totals()
        self._health = Health()
        self._session: ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, health: Health) -> None:
        """Open the port; until there are workers, `health` is shown. Raises OSError where the port is taken."""
        self._health = health
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", _alive), web.get("/readyz", self._ready), web.get("/metrics", self._metrics)]
        )
        if self._faust:
            app.add_routes(
                [
                    web.get("/", self._by_worker),
                    web.get("/stats/", self._by_worker),
                    web.get("/assignment/", self._by_worker),
                    web.get("/lag/", self._lag),
                    web.get("/{path:.*}", self._first),
                ]
            )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._session = ClientSession(timeout=ClientTimeout(total=ANSWER_TIMEOUT_S))

    async def stop(self) -> None:
        """Close the port."""
        if self._session is not None:
            await self._session.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def reasons(self) -> dict[str, str]:
        """Why not all workers are ready, by `<worker>.<condition>`; empty when they are."""
        if not self._ports():
            return self._health.reasons()
        said = {name: _reasons(answer) for name, answer in (await self._ask("/readyz")).items()}
        return {f"{name}.{condition}": why for name, reasons in said.items() for condition, why in reasons.items()}

    async def _ready(self, _: web.Request) -> web.Response:
        reasons = await self.reasons()
        return web.json_response(
            {"status": "not ready", "reasons": reasons} if reasons else {"status": "ready"},
            status=503 if reasons else 200,
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        pids = self._pids()
        answering = {name: found for name, found in (await self._ask("/metrics")).items() if _is_well(found)}
        for name, found in answering.items():
            if found is not None and name in pids:
                self._totals.see(name, pids[name], found.body.decode())
        return web.Response(body=self._totals.page(answering), headers={"content-type": CONTENT_TYPE_LATEST})

    async def _by_worker(self, request: web.Request) -> web.Response:
        answers = await self._ask(request.rel_url.raw_path)
        return web.json_response({name: SILENT if one is None else one.json() for name, one in answers.items()})

    async def _lag(self, request: web.Request) -> web.Response:
        """Every partition is one worker's, so that the lists make one."""
        lags: list[dict[str, Any]] = []
        for name, answer in (await self._ask(request.rel_url.raw_path)).items():
            lags += answer.json()["partitions"] if answer is not None and _is_well(answer) else [{name: SILENT}]
        return web.json_response({"partitions": sorted(lags, key=lambda lag: lag.get("partition", -1))})

    async def _first(self, request: web.Request) -> web.Response:
        """Whatever a worker knows: the first that does answers."""
        answers = await self._ask(request.rel_url.raw_path)
        for answer in answers.values():
            if answer is not None and _is_well(answer):
                return answer.response()
        if silent := [name for name, answer in answers.items() if answer is None]:
            return web.json_response({"error": f"not known, and {', '.join(silent)} does not answer"}, status=503)
        return next((one.response() for one in answers.values() if one is not None), web.Response(status=503))

    async def _ask(self, path: str) -> dict[str, Answer | None]:
        """What each worker says to a GET; None where it does not answer."""
        if not path.startswith("/"):  # nor may it say something of the host
            raise web.HTTPBadRequest
        ports = dict(self._ports())
        found = await asyncio.gather(*(self._ask_one(port, path) for port in ports.values()))
        return dict(zip(ports, found, strict=True))

    async def _ask_one(self, port: int, path: str) -> Answer | None:
        assert self._session is not None
        url = URL.build(scheme="http", host="127.0.0.1", port=port, path=path, encoded=True)
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                return Answer(answer.status, await answer.read(), answer.headers.get("content-type", "text/plain"))
        except (ClientError, OSError, TimeoutError):
            return None


async def _alive(_: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


def _is_well(answer: Answer | None) -> bool:
    return answer is not None and answer.status < 400


def _reasons(answer: Answer | None) -> dict[str, str]:
    if answer is None:
        return SILENT
    said = answer.json()
    if isinstance(said, dict):
        return dict(said.get("reasons", {}))
    return {} if answer.status == 200 else {"worker": f"answers {answer.status}"}
