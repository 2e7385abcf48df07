"""How a process connects to Kafka: one place for security, compression, isolation and time limits."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Coroutine
from typing import Any, Literal, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from schemas.settings import Settings
from streams.lane.bounded import within

logger = logging.getLogger(__name__)

DISCONNECT_TIMEOUT_S = 2.0
METADATA_AGE_MS = 10_000

#: The largest record we read or write, with room for headers: the `rejected` topic's limit and a little more.
MAX_REQUEST_BYTES = 11 * 1_048_576

#: Kafka ends a transaction that was left open after this long; open ones hold up every reader of their partitions.
TRANSACTION_TIMEOUT_MS = 20_000


def security(settings: Settings) -> dict[str, Any]:
    """aiokafka's connection arguments for `settings`."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka,
        "security_protocol": settings.kafka_security.upper(),
    }
    if settings.kafka_security.endswith("ssl"):
        cafile = str(settings.kafka_ca_file) if settings.kafka_ca_file else None
        arguments["ssl_context"] = ssl.create_default_context(cafile=cafile)
    if settings.kafka_security.startswith("sasl") and settings.kafka_password is not None:
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = settings.kafka_username
        arguments["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return arguments


def transactional_producer(settings: Settings, transactional_id: str) -> AIOKafkaProducer:
    """A producer whose start fences every earlier one of the same id.

    The short back-off matters: right after a commit the broker still answers "concurrent transactions", and the
    default of 100 ms would be paid by every transaction.
    """
    return AIOKafkaProducer(
        **security(settings),
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        acks="all",
        compression_type="zstd",
        max_batch_size=900_000,
        max_request_size=MAX_REQUEST_BYTES,
        retry_backoff_ms=10,
        request_timeout_ms=10_000,
        linger_ms=0,
    )


def reader(
    settings: Settings,
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
    *,
    reset: Literal["earliest", "none"] = "earliest",
    fetch_bytes: int = 1_048_576,
) -> AIOKafkaConsumer:
    """A consumer without a group, to be assigned by hand. `reset`: what happens at an offset that is not there."""
    return AIOKafkaConsumer(
        **security(settings),
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset=reset,
        fetch_max_wait_ms=250,
        max_partition_fetch_bytes=fetch_bytes,
        retry_backoff_ms=50,
    )


def member(settings: Settings, service: str, assignor: Any) -> AIOKafkaConsumer:
    """A member of the service's consumer group that commits nothing by itself.

    With `HOOKFOLD_INSTANCE` it is a static member: after a crash it gets its partitions back as soon as it is there.
    """
    return AIOKafkaConsumer(
        **security(settings),
        group_id=settings.group(service),
        group_instance_id=f"{service}-{settings.instance}" if settings.instance else None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=settings.session_timeout_ms,
        # A member learns at its next heartbeat that partitions are to be shared out anew: others wait for it.
        heartbeat_interval_ms=max(100, min(300, settings.session_timeout_ms // 10)),
        partition_assignment_strategy=(assignor,),
        metadata_max_age_ms=METADATA_AGE_MS,
        retry_backoff_ms=50,
    )


class Client(Protocol):
    """What a consumer and a producer have in common."""

    def stop(self) -> Coroutine[Any, Any, None]:
        """Disconnect."""


async def disconnect(client: Client | None) -> None:
    """Stop a client, whatever state it and Kafka are in, within 2 s."""
    if client is not None:
        try:
            await within(DISCONNECT_TIMEOUT_S, client.stop())
        except Exception as problem:
            logger.debug("client.stopping reason=%r", problem)


def admin(settings: Settings) -> AIOKafkaAdminClient:
    """An admin client."""
    return AIOKafkaAdminClient(**security(settings), request_timeout_ms=10_000)
