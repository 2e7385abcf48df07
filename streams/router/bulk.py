"""Whole fetched batches for the lanes, past Faust's way for single records; Faust's counts stay true."""

from __future__ import annotations

import time
from typing import Any

import faust
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.router.lanes import Lanes
from streams.router.private import Fetched


class Bulk:
    """See `Taker`. Events go to their lanes; of changes it is enough that there are some."""

    def __init__(self, app: faust.App, lanes: Lanes, events: str, changes: str) -> None:
        self.topics = frozenset({events, changes})
        self._app = app
        self._lanes = lanes
        self._events = events
        #: By topic: the stream that would have got the records.
        self._streams: dict[str, Any] = {}

    def stands_for(self, topic: str, stream: Any) -> None:
        """Records of the topic are counted as this stream's."""
        self._streams[topic] = stream

    def wants(self, place: TopicPartition) -> bool:
        """See `Taker.wants`: what a lane has no room for would be read twice."""
        return place.topic != self._events or self._lanes.want(place.partition)

    def take(self, fetched: Fetched) -> None:
        """See `Taker.take`."""
        began = time.monotonic()
        if fetched.place.topic == self._events:
            self._lanes.hint_all(fetched.place.partition, fetched.start, fetched.end, fetched.records)
        else:
            self._lanes.changed(fetched.place.partition)
        self._count(fetched, time.monotonic() - began)

    def _count(self, fetched: Fetched, took_s: float) -> None:
        """Tell the monitor what `on_message_in`, `on_stream_event_in` and their ends would have told it."""
        monitor, place, count = self._app.monitor, TP(*fetched.place), len(fetched.records)
        if fetched.highwater is not None:
            monitor.track_tp_end_offset(place, fetched.highwater)
        if not count:
            return
        monitor.messages_received_total += count
        monitor.messages_received_by_topic[place.topic] += count
        monitor.tp_read_offsets[place] = fetched.records[-1].offset
        monitor.stream_inbound_time[place] = time.monotonic()
        monitor.events_total += count
        monitor.events_runtime.append(took_s / count)
        if (stream := self._streams.get(place.topic)) is not None:
            monitor.events_by_stream[str(stream)] += count
            monitor.events_by_task[str(stream.task_owner)] += count
