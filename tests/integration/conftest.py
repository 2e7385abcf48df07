"""What several integration tests share."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

from handlers.egress import client
from schemas import topics
from schemas.settings import RouterSettings
from streams import provisioning
from streams.lane.log import Log

#: The tests of how requests are sent.
OF_SENDING = ("test_client", "test_keep_alive", "test_misbehaving", "test_out_of_reach", "test_sending")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both ways of sending requests pass the same tests."""
    if metafunc.module.__name__.rpartition(".")[2] in OF_SENDING:
        metafunc.parametrize("http_client", sorted(client.EXCHANGES), indirect=True)


@pytest.fixture(autouse=True)
def http_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The way that requests are sent in a test, whatever its settings say."""
    if (name := getattr(request, "param", None)) is not None:
        monkeypatch.setattr(client, "EXCHANGES", dict.fromkeys(client.EXCHANGES, client.EXCHANGES[name]))
    return name


@pytest.fixture
async def settings(kafka: str, prefix: str) -> RouterSettings:
    """Of a router with one partition."""
    made = RouterSettings(kafka=kafka, prefix=prefix, partitions=1, allow_http=True, allow_networks="127.0.0.0/8")
    await provisioning.provision(made)
    return made


@pytest.fixture
async def log(settings: RouterSettings) -> AsyncIterator[Log]:
    """What is in its topics."""
    reader = Log(settings)
    await reader.start()
    yield reader
    await reader.stop()


@pytest.fixture
async def producer(settings: RouterSettings) -> AsyncIterator[AIOKafkaProducer]:
    """A provider and operator."""
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, max_request_size=9 * topics.MIB) as made:
        yield made
