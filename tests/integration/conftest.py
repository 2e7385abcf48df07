"""What several integration tests share."""

import pytest

from handlers.egress import client

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
