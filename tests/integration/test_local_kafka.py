"""The local Kafka: a real one, started from packages, that keeps its data and cleans up after itself."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from compose.kafka import KafkaFailed, LocalKafka


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def topics(kafka: LocalKafka, create: str | None = None) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        if create:
            await admin.create_topics([NewTopic(create, 1, 1)])
        return await admin.list_topics()
    finally:
        await admin.close()


async def test_two_run_side_by_side_and_each_keeps_its_data(tmp_path: Path) -> None:
    first, second = LocalKafka(tmp_path / "a", free_port()), LocalKafka(tmp_path / "b", free_port())
    try:
        await asyncio.gather(asyncio.to_thread(first.start), asyncio.to_thread(second.start))
        assert await topics(first, create="mine") == ["mine"]
        assert await topics(second) == []
        with pytest.raises(KafkaFailed, match="in use by another Kafka"):
            LocalKafka(tmp_path / "a", free_port()).start()
        port = int(first.bootstrap.split(":")[1])
        with pytest.raises(KafkaFailed, match=f"port {port} .* in use"):
            LocalKafka(tmp_path / "c", port).start()
        first.stop()
        assert not first.running
        assert not is_listening(port)
        await asyncio.to_thread(first.start)
        end = time.monotonic() + 20
        while (known := await topics(first)) != ["mine"]:  # a broker that answers may have yet to read what it knows
            assert time.monotonic() < end, known
            await asyncio.sleep(0.1)
    finally:
        first.stop()
        second.stop()
