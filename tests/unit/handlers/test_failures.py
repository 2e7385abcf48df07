"""Whose fault a failed attempt is, and of what kind."""

import errno
import os
import socket
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import HttpProcessingError

from handlers.egress import client
from handlers.egress.connector import OutOfReach
from handlers.egress.resolver import Blocked

KEY: Any = ConnectionKey("a.example", 443, True, True, None, None, None, None)


def system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (Blocked("a.example"), "blocked"),
        (TimeoutError(), "timeout"),
        (aiohttp.ClientConnectorError(KEY, OutOfReach("10.0.0.1")), "blocked"),
        (aiohttp.ClientConnectorError(KEY, system(errno.ECONNREFUSED)), "refused"),
        (aiohttp.ClientConnectorError(KEY, system(errno.EHOSTUNREACH)), "refused"),
        (aiohttp.ClientConnectorError(KEY, system(errno.ETIMEDOUT)), "timeout"),
        (aiohttp.ClientConnectorError(KEY, system(errno.ECONNRESET)), "reset"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "no")), "tls"),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "no")), "tls"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "no")), "dns"),
        (aiohttp.ServerDisconnectedError(), "reset"),
        (aiohttp.ClientOSError(errno.EPIPE, "no"), "reset"),
        (aiohttp.ClientPayloadError(), "reset"),
        (HttpProcessingError(message="no"), "protocol"),
        (ValueError(), "protocol"),
    ],
    ids=repr,
)
def test_a_receivers_fault_is_told_by_its_kind(problem: Exception, kind: str) -> None:
    assert client.kind_of(problem) == kind


@pytest.mark.parametrize(
    "problem",
    [
        *(aiohttp.ClientConnectorError(KEY, system(number)) for number in client.OUR_ERRNOS),
        aiohttp.ClientConnectorDNSError(KEY, system(errno.EMFILE)),
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_MEMORY, "no")),
        RuntimeError(),
        MemoryError(),
        AssertionError(),
    ],
    ids=repr,
)
def test_a_fault_of_our_own_is_no_receivers(problem: Exception) -> None:
    assert client.kind_of(problem) is None
