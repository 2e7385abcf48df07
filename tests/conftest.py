"""One Kafka for a test run; topics of its own for each test."""

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from compose.kafka import LocalKafka

_NUMBERS = itertools.count()

# How fast examples are made says something of the machine, and nothing of what is tested.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real Kafka: the one in HOOKFOLD_TEST_KAFKA, or one that lives as long as the run."""
    given = os.environ.get("HOOKFOLD_TEST_KAFKA")
    if given:
        yield given
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with LocalKafka(Path(tmp_path_factory.mktemp("kafka")), port) as broker:
        yield broker.bootstrap


@pytest.fixture
def prefix() -> str:
    """A topic prefix that nobody else uses."""
    return f"t{os.getpid()}-{next(_NUMBERS)}-{os.urandom(3).hex()}."
