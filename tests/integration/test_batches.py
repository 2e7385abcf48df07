"""A batch to a real receiver, of which some items cannot be opened: they wait, and the others go."""

import json
from typing import Any

from aiohttp import web
from aiokafka.structs import TopicPartition

from handlers.egress.client import Client
from handlers.egress.closing import Closing
from handlers.egress.elaborate import Elaborate
from handlers.egress.queues import EndpointQueue, Item
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointRecord, EndpointVersion, State
from schemas.events import Sealed
from schemas.settings import EgressSettings
from streams.core.sealing import CannotOpen, Keyring

OPEN = EgressSettings(allow_http=True, allow_networks="127.0.0.0/8")
PLACE = TopicPartition("hookfold.deliveries", 0)


class Keys:
    """Opens what is sealed with `k` by taking off its last byte; the ring lacks the key of `locked`, Kafka is away."""

    async def data_of(self, tenant: str, event_id: str, sealed: Sealed) -> bytes:
        if sealed.key_id == "locked":
            raise CannotOpen("a data key is sealed with the key x, which is not in HOOKFOLD_SEAL_KEYS")
        if sealed.key_id == "away":
            raise TimeoutError
        return sealed.data[:-1]


class Lane:
    """What became of each item, by its event."""

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}

    def finish(self, item: Item, made: Any, due_ms: int | None = None, *, posted: bool = False) -> None:
        self.ended[item.delivery.event_id] = "posted" if posted else "not posted"

    def put_off(self, item: Item, for_ms: int, cause: str) -> None:
        self.ended[item.delivery.event_id] = cause


async def test_an_item_that_cannot_be_opened_waits_and_the_others_of_its_batch_go() -> None:
    bodies: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(json.loads(await request.read()))
        return web.Response(status=204)

    app = web.Application()
    app.add_routes([web.post("/in", take)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    given = {
        "url": f"http://127.0.0.1:{runner.addresses[0][1]}/in",
        "subscriptions": (),
        "secrets": (),
        "batch": {"max_items": 10, "max_wait_ms": 0},
    }
    version: dict[str, Any] = {"valid_from_ms": 1, "offset": 1, "state": State.ACTIVE, "since_ms": 1, "settings": given}
    record = EndpointRecord(
        tenant="t", endpoint_id="e", partition=0, current=EndpointVersion.model_validate(version, strict=False)
    )

    class View:
        async def current(self, key: bytes, version: str) -> EndpointRecord:
            return record

    lane = Lane()
    owner: Any = lane
    items = [
        Item(
            Delivery(
                delivery_id=f"d{number}", event_id=f"e{number}", event_type="a.b", tenant="t", endpoint_id="e",
                endpoint_version="0-1", event_time_ms=0, sealed_with=key, data=b"%d!" % number,
            ),
            PLACE, number, owner,
        )
        for number, key in enumerate(["k", "locked", "k", "away", "k"])
    ]  # fmt: skip
    async with Client(OPEN) as client:
        view: Any = View()
        keys: Any = Keys()
        elaborate = Elaborate(OPEN, client, view, keys, Keyring({}), Closing(OPEN))
        report = await elaborate.make(list(items), owner, EndpointQueue(10))
    await runner.cleanup()
    assert report is not None
    assert [[item["data"] for item in body] for body in bodies] == [[0, 2, 4]]
    assert lane.ended == {"e0": "posted", "e1": "sealed", "e2": "posted", "e3": "unknown", "e4": "posted"}
