"""`hookfold tail`: results as they come, a line each."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from compose import tail_view
from compose.commands import Command, fail, load
from compose.tail_view import Wanted
from schemas import topics
from schemas.model import is_identifier
from schemas.results import Verdict
from schemas.settings import Settings, parse_duration_ms
from streams.core import matching

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer
    from aiokafka.structs import ConsumerRecord, TopicPartition

logger = logging.getLogger(__name__)

MAX_SINCE_MS = 366 * 86_400_000
ANSWER_TIMEOUT_S = 5.0
LISTEN_INTERVAL_S = 2.0
AGAIN_S = 1.0


@click.command("tail", cls=Command, model=Settings)
@click.option("--tenant", help="Only this tenant's.")
@click.option("--endpoint", "endpoint_id", help="Only to this endpoint.")
@click.option("--event-type", help="Only of these event types, a pattern such as 'invoice.*'.")
@click.option("--event", "event_id", help="Only of this event.")
@click.option("--verdict", "verdicts", multiple=True, help="delivered, retrying, dead or skipped; repeatable.")
@click.option("--failed", is_flag=True, help="All but delivered.")
@click.option("--since", help="Those of the last 30s, 10m, 2h or 1d first, instead of only new ones.")
@click.option("--count", type=click.IntRange(1), help="End after so many.")
@click.option("--json", "as_json", is_flag=True, help="The records' values as they are, a line each.")
def tail(
    tenant: str | None,
    endpoint_id: str | None,
    event_type: str | None,
    event_id: str | None,
    verdicts: tuple[str, ...],
    failed: bool,
    since: str | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Show results as they come, from Kafka itself, until Ctrl-C or SIGTERM.

    A line has the time in the log, tenant and endpoint, event type and id, the attempt, its verdict, the status or the
    kind of error, the latency and the wait for the next attempt.
    """
    for name, given in (("--tenant", tenant), ("--endpoint", endpoint_id)):
        if given is not None and not is_identifier(given):
            fail(f"{name}: {given!r} is not 1 to 128 of A-Z a-z 0-9 _ -")
    if event_type is not None and (refused := matching.refuse_pattern(event_type)) is not None:
        fail(f"--event-type: {refused}")
    if unknown := [verdict for verdict in verdicts if verdict not in list(Verdict)]:
        fail(f"--verdict: {unknown[0]!r} is not one of {', '.join(Verdict)}")
    if failed and set(verdicts) == {Verdict.DELIVERED}:
        fail("--failed is every verdict but delivered: nothing would be shown")
    try:
        since_ms = parse_duration_ms(since, MAX_SINCE_MS) if since is not None else None
    except ValueError as problem:
        fail(f"--since: {problem}")
    settings = load(Settings)
    from streams import process

    wanted = Wanted(tenant, endpoint_id, event_type, event_id, frozenset(verdicts), failed)
    sys.exit(process.run(_until_told(_Tail(settings, wanted, since_ms, _Printer(as_json)), count)))


async def _until_told(tailing: _Tail, count: int | None) -> int:
    """Show `count` results, or what comes until SIGTERM or SIGINT; the exit status."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    stopping = asyncio.create_task(stop.wait())
    showing = asyncio.create_task(tailing.show(count))
    await asyncio.wait([showing, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if showing.done():
        showing.result()
    else:
        showing.cancel()
        await asyncio.wait([showing], timeout=ANSWER_TIMEOUT_S)
    return 0


class _Printer:
    """Prints results: with colours in a terminal, unless NO_COLOR is set (no-color.org)."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console: Any = None
        if not as_json and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
            from rich.console import Console

            self._console = Console(highlight=False, soft_wrap=True)

    def print(self, result: Mapping[str, Any], record: ConsumerRecord[bytes, bytes]) -> None:
        """A line."""
        if self._as_json:
            click.echo(record.value)
            return
        line = tail_view.line(result, record.timestamp)
        if self._console is None:
            click.echo(line.plain)
        else:
            self._console.print(line)


class _Tail:
    """Follows `results`. Where Kafka is away it says so, and goes on from where it was."""

    def __init__(self, settings: Settings, wanted: Wanted, since_ms: int | None, printer: _Printer) -> None:
        self._settings = settings
        self._wanted = wanted
        self._since_ms = since_ms
        self._printer = printer
        self._topic = settings.topic(topics.RESULTS)
        self._said: str | None = None

    async def show(self, count: int | None) -> None:
        """Print `count` results that are asked for; for ever where that is None."""
        shown = 0
        async with aclosing(self._records()) as records:
            async for record in records:
                result = tail_view.read(record.value)
                if result is None:
                    logger.warning("tail.unreadable record=%s/%d/%d", record.topic, record.partition, record.offset)
                elif self._wanted.takes(result):
                    self._printer.print(result, record)
                    shown += 1
                    if shown == count:
                        return

    async def _records(self) -> AsyncGenerator[ConsumerRecord[bytes, bytes]]:
        from aiokafka.errors import KafkaError

        from streams.lane import connections

        consumer, places = await self._placed()
        listening = asyncio.create_task(self._listen(consumer, places))
        try:
            while True:
                try:
                    fetched = await consumer.getmany(timeout_ms=200, max_records=1_000)
                except KafkaError as problem:
                    self._wait_for(f"the results cannot be read: {problem!r}")
                    await asyncio.sleep(AGAIN_S)
                    continue
                # Within a partition that is their order already.
                for record in sorted((one for some in fetched.values() for one in some), key=lambda one: one.timestamp):
                    yield record
        finally:
            listening.cancel()
            await connections.disconnect(consumer)

    async def _placed(self) -> tuple[AIOKafkaConsumer, list[TopicPartition]]:
        """A consumer of every partition, where it is to begin; waits for Kafka and for the topic."""
        from streams.lane import clock, connections
        from streams.lane.bounded import within

        began_ms = clock.now_ms()
        while True:
            consumer = connections.reader(self._settings)
            try:
                await within(ANSWER_TIMEOUT_S, consumer.start())
                places = await within(ANSWER_TIMEOUT_S, self._seek(consumer, began_ms))
                if places:
                    self._answered()
                    logger.info("tail.ready topic=%s", self._topic)
                    return consumer, places
                self._wait_for(f"there is no topic {self._topic} at {self._settings.kafka}; `hookfold topics` makes it")
            except Exception as problem:
                self._wait_for(f"Kafka at {self._settings.kafka} does not answer: {problem}")
            except BaseException:
                await connections.disconnect(consumer)
                raise
            await connections.disconnect(consumer)
            await asyncio.sleep(AGAIN_S)

    async def _seek(self, consumer: AIOKafkaConsumer, began_ms: int) -> list[TopicPartition]:
        places = await self._partitions()
        if not places:
            return []
        consumer.assign(places)
        starts = await consumer.end_offsets(places)
        if self._since_ms is not None:
            times = dict.fromkeys(places, began_ms - self._since_ms)
            found = await consumer.offsets_for_times(times)
            starts |= {place: at.offset for place, at in found.items() if at is not None}
        for place, offset in starts.items():
            consumer.seek(place, offset)
        return places

    async def _partitions(self) -> list[TopicPartition]:
        """Those of the topic; none where there is no such topic, which is not made by asking for it."""
        from aiokafka.structs import TopicPartition

        from streams.lane import connections

        admin = connections.admin(self._settings)
        await admin.start()
        try:
            if self._topic not in await admin.list_topics():
                return []
            (told,) = await admin.describe_topics([self._topic])
            return [TopicPartition(self._topic, one["partition"]) for one in told["partitions"]]
        finally:
            await admin.close()

    async def _listen(self, consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> None:
        """Ask Kafka something now and then: a quiet topic cannot tell silence from absence."""
        from streams.lane.bounded import within

        while True:
            await asyncio.sleep(LISTEN_INTERVAL_S)
            try:
                await within(ANSWER_TIMEOUT_S, consumer.end_offsets(places))
                self._answered()
            except Exception as problem:
                self._wait_for(f"Kafka at {self._settings.kafka} does not answer: {problem}")

    def _wait_for(self, reason: str) -> None:
        if self._said is None:
            logger.warning("tail.waiting reason=%s", reason)
        self._said = reason

    def _answered(self) -> None:
        if self._said is not None:
            logger.info("tail.answered topic=%s", self._topic)
        self._said = None
