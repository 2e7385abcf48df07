"""The Faust app: agents, table, settings and signals; what they lead to is in `lanes`."""

from __future__ import annotations

import ssl
from typing import Any

import faust
from faust.types import TP

from schemas import topics
from schemas.settings import RouterSettings
from streams.lane import connections
from streams.lane.health import Health
from streams.router import pages
from streams.router.bulk import Bulk
from streams.router.lanes import SERVICE, Lanes
from streams.router.private import RouterTransport
from streams.router.table import KeeperTable, KeeperTables


def make_app(settings: RouterSettings, health: Health, lanes: Lanes) -> faust.App:
    """The app, ready to be started on the running loop."""
    folder = settings.data_dir.absolute() / SERVICE
    folder.mkdir(parents=True, exist_ok=True)
    session_s = settings.session_timeout_ms / 1000
    app = faust.App(
        settings.group(SERVICE),
        broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        broker_credentials=_credentials(settings),
        broker_session_timeout=session_s,
        broker_heartbeat_interval=min(2.0, session_s / 5),
        broker_max_poll_records=500,
        consumer_auto_offset_reset="earliest",
        # A topic that was deleted and made anew is to be noticed, and its partitions shared out again.
        consumer_metadata_max_age_ms=connections.METADATA_AGE_MS,
        consumer_group_instance_id=f"{SERVICE}-{settings.instance}" if settings.instance else "",
        producer_acks=-1,
        stream_wait_empty=False,
        stream_buffer_maxsize=65_536,
        topic_partitions=settings.partitions,
        topic_disable_leader=True,
        datadir=str(folder),
        store="memory://",
        TableManager=KeeperTables,
        # Faust refuses an assignment that was made for another URL, and a static member gets its old one back.
        canonical_url=f"http://{settings.instance or f'{settings.bind}:{settings.router_port}'}",
        web_bind=settings.bind,
        web_host=settings.bind,
        web_port=settings.router_port,
        web_stats_enabled=True,
        autodiscover=False,
        reply_create_topic=False,
    )
    app.transport = transport = RouterTransport(app.conf.broker_consumer, app)
    app.tables.add(KeeperTable(app, lanes.keepers, settings.partitions))
    # `acks=False`: Faust never commits these topics. Its commits skip records that it has dropped; the lanes' do not.
    raw: dict[str, Any] = {
        "key_type": bytes,
        "value_type": bytes,
        "key_serializer": "raw",
        "value_serializer": "raw",
        "acks": False,
    }
    events = app.topic(settings.topic(topics.EVENTS), **raw)
    changes = app.topic(settings.topic(topics.SUBSCRIPTIONS), **raw)
    bulk = Bulk(app, lanes, settings.topic(topics.EVENTS), settings.topic(topics.SUBSCRIPTIONS))
    if settings.router_feed == "bulk":
        transport.taker = bulk

    # With the bulk feed the agents get nothing; they are what Faust subscribes for.
    @app.agent(events, name="events", concurrency=1)
    async def on_events(stream: Any) -> None:
        bulk.stands_for(settings.topic(topics.EVENTS), stream)
        async for event in stream.noack().events():
            lanes.hint(event.message)

    @app.agent(changes, name="subscriptions", concurrency=1)
    async def on_changes(stream: Any) -> None:
        bulk.stands_for(settings.topic(topics.SUBSCRIPTIONS), stream)
        async for event in stream.noack().events():
            lanes.changed(event.message.partition)

    @app.on_partitions_revoked.connect(weak=False)
    async def on_revoked(app: faust.App, revoked: set[TP], **_: Any) -> None:
        lanes.unsettled()

    @app.on_partitions_assigned.connect(weak=False)
    async def on_assigned(app: faust.App, assigned: set[TP], **_: Any) -> None:
        # Faust goes on to see to its tables; lanes have nothing to wait for.
        owned = {tp.partition for tp in assigned if tp.topic == settings.topic(topics.EVENTS)}
        app.loop.create_task(lanes.own(owned))

    @app.on_rebalance_complete.connect(weak=False)
    async def on_complete(app: faust.App, **_: Any) -> None:
        lanes.settled()

    @app.on_before_shutdown.connect(weak=False)
    async def on_shutdown(app: faust.App, **_: Any) -> None:
        await lanes.close(list(lanes.open))

    pages.add(app, settings, health, lanes)
    return app


def _credentials(settings: RouterSettings) -> Any:
    context = None
    if settings.kafka_security.endswith("ssl"):
        context = ssl.create_default_context(cafile=str(settings.kafka_ca_file) if settings.kafka_ca_file else None)
    if settings.kafka_security.startswith("sasl") and settings.kafka_password is not None:
        return faust.SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None
