"""Our own networks, in every spelling and by every detour: refused at registration, never dialled at the attempt."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from handlers.egress import resolver
from handlers.egress.client import Client
from handlers.egress.exchange import Request
from handlers.egress.resolver import CheckingResolver
from handlers.wire.outcome import Outcome
from schemas.settings import EgressSettings
from streams.core import addresses

CLOSED = EgressSettings(allow_http=True)
PUBLIC, OTHER = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"


def words(text: str) -> list[str]:
    return text.split()


HOSTS = words("""
127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7F000001 0x7f.0.0.1 0X7F.1 017700000001 0177.0.0.1
0177.1 00000177.0.0.1 127.0.0.1. 127.1. 127.0.0.01 0x7f.0.0.0x1 127.0x1 0 0.0.0.0 0.1 00 0x0 10.0.0.1 10.1 012.0.0.1
0xa.1 172.16.0.1 172.31.255.254 192.168.0.1 192.168.1 0xC0A80001 3232235521 030052000001 100.64.0.1 100.127.255.254
169.254.169.254 169.254.43518 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.170.2 192.0.0.1 192.0.0.170
192.0.0.192 192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 198.19.255.254 192.88.99.1 224.0.0.1 239.255.255.250
240.0.0.1 255.255.255.255 4294967295 4294967296 256.0.0.1 1.2.3.4.5 127.0.0.1.1 127.0.0.08 [::1] [::]
[0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0001] [::127.0.0.1] [::7f00:1] [::10.0.0.1]
[::ffff:127.0.0.1] [::FFFF:127.0.0.1] [::ffff:7f00:1] [::FFFF:7F00:1] [0:0:0:0:0:ffff:127.0.0.1] [::ffff:10.0.0.1]
[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::ffff:0:127.0.0.1] [::ffff:0:7f00:1] [64:ff9b::127.0.0.1]
[64:ff9b::7f00:1] [64:FF9B::A9FE:A9FE] [64:ff9b::10.0.0.1] [64:ff9b:1::7f00:1] [64:ff9b:1::8.8.8.8] [2002:7f00:1::]
[2002:7f00:1::1] [2002:a00:1::] [2002:c0a8:1::1] [2002:A9FE:A9FE::1] [2001::1] [2001:0:7f00:1::]
[2001:0:808:808:0:0:80ff:fffe] [2606:4700::5efe:127.0.0.1] [2606:4700::200:5efe:a00:1] [fe80::5efe:127.0.0.1]
[fe80::1] [fe80::1%25eth0] [fe80::1%eth0] [FE80::1%251] [::1%25lo] [febf::1] [fec0::1] [feff::1] [fc00::1] [fd00::1]
[fd00:ec2::254] [FD00:EC2::254] [ff02::1] [ff0e::1] [2001:db8::1] [2001:2::1] [2001:10::1] [2001:20::1] [3fff::1]
[5f00::1] [100::1] [100:0:0:1::1] [1::1] [4000::1] [::1].example [v1.x] [127.0.0.1] [::1]x [] localhost LOCALHOST
LocalHost. localhost. a.localhost a.b.LOCALHOST. 127.0.0.1%00.example 127%2e0%2e0%2e1 %31%32%37.0.0.1
127.0.0.1%2f@a.example %6c%6f%63alhost loc%61lhost a.example@127.0.0.1 127.0.0.1@a.example a:b@127.0.0.1
a.example%40127.0.0.1 a.example:80@127.0.0.1 @127.0.0.1 127.0.0.1\\@a.example a.example\\@127.0.0.1
127.0.0.1\\a.example \\127.0.0.1 127.0.0.1;a.example a.example,127.0.0.1 127.0.0.1:80:80 127.0.0.1:x 127.0.0.1:0
127.0.0.1:65536 127.0.0.1:-1 :80 a..example .127.0.0.1 127..0.0.1 127.0.0.1.. a.0x7f a.127 a.0x example.1 0x 0xg.0x1
\uff11\uff12\uff17.\uff10.\uff10.\uff11 127\u30020\u30020\u30021 127\uff0e0\uff0e0\uff0e1 127\uff610\uff610\uff611
\u2460\u2461\u2466.0.0.1 \u24dbocalhost \u2113ocalhost \uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54
lo\u216dalhost 127.0.0.1 \u0661\u0662\u0667.0.0.1 [::\uff11]
""")
URLS = [f"http://{host}/" for host in HOSTS] + [
    "http:///127.0.0.1/",
    "http:127.0.0.1/",
    "http:/127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http://\t127.0.0.1/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\n/",
    "http://127.0.0.1\r\nhost: a.example/",
    " http://127.0.0.1/",
    "http://127.0.0.1 /",
    "http://127.0.0.1\0.example/",
    "http://a.example#@127.0.0.1/",
    "http://127.0.0.1#@a.example/",
    "http://127.0.0.1?@a.example/",
    "http://127.0.0.1/@a.example",
    "http://local\u00adhost/",
    "http://127.0.0.1\u200b/",
    "http://\u202e1.0.0.721/",
    "//127.0.0.1/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:25/",
    "unix:///run/docker.sock",
    "tcp://127.0.0.1/",
    "ws://127.0.0.1/",
]


class Wire:
    """What would have been connected to. Nothing leaves the machine: every connection is refused."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self.asked: list[str] = []
        self.answers: Callable[[str], list[str]] = lambda host: []

    def resolve(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if not (found := self.answers(host)):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()

    async def connect(_: socket.socket, place: tuple[str, int]) -> None:
        made.dialled.append(place[0])
        raise ConnectionRefusedError

    async def create(*_: Any, sock: socket.socket | None = None, **__: Any) -> None:
        made.dialled.append(repr(sock))
        raise ConnectionRefusedError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "sock_connect", connect)
    monkeypatch.setattr(loop, "create_connection", create)
    monkeypatch.setattr(socket, "getaddrinfo", made.resolve)
    return made


async def post(client: Client, url: str, timeout_ms: int = 5_000) -> Outcome:
    return (await client.send(Request(url, [], b"{}", timeout_ms))).outcome


def test_the_table_is_a_table() -> None:
    assert len(set(URLS)) >= 200


@pytest.mark.parametrize("url", URLS, ids=ascii)
def test_our_own_networks_are_refused_at_registration(url: str) -> None:
    assert addresses.refuse_url(url, allow_http=True) is not None


async def test_our_own_networks_get_no_connection_at_the_attempt(wire: Wire) -> None:
    # A resolver that makes an address of everything would be of no help either.
    wire.answers = lambda host: ["127.0.0.1"]
    async with Client(CLOSED) as client:
        kinds = {url: (await post(client, url)).error_kind for url in URLS}
    assert {url: kind for url, kind in kinds.items() if kind != "blocked"} == {}
    assert wire.dialled == []


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "[2606:4700:4700::1111]",
        "[::ffff:808:808]",
        "[64:ff9b::808:808]",
        "a.example",
    ],
)
async def test_what_is_public_is_dialled(wire: Wire, host: str) -> None:
    wire.answers = lambda _: [PUBLIC]
    async with Client(CLOSED) as client:
        assert (await post(client, f"http://{host}/")).error_kind == "refused"
    assert wire.dialled == [PUBLIC if host == "a.example" else host.strip("[]")]


async def test_a_name_that_turns_private_later_is_blocked_once_its_address_is_forgotten(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://turns.example/"
    assert addresses.refuse_url(url, allow_http=True) is None
    wire.answers = lambda _: [PUBLIC] if len(wire.asked) == 1 else ["169.254.169.254"]
    ahead_s = [0.0]
    monotonic = asyncio.get_running_loop().time
    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: monotonic() + ahead_s[0])
    async with Client(CLOSED) as client:
        for ahead_s[0], kind in ((0, "refused"), (30, "refused"), (59, "refused"), (61, "blocked"), (62, "blocked")):
            assert (await post(client, url)).error_kind == kind
    assert wire.dialled == [PUBLIC] * 3
    assert len(wire.asked) == 3  # what is blocked is not remembered


async def test_of_a_name_with_public_and_private_addresses_the_public_ones_alone_are_dialled(wire: Wire) -> None:
    wire.answers = lambda _: ["127.0.0.1", OTHER, "10.0.0.1", PUBLIC, "::1", "fd00:ec2::254", "::ffff:127.0.0.1"]
    async with Client(CLOSED) as client:
        for _ in range(5):
            assert (await post(client, "http://mixed.example/")).error_kind == "refused"
    assert set(wire.dialled) == {PUBLIC, OTHER}
    assert wire.asked == ["mixed.example"]


async def test_a_name_that_flips_with_every_look_up_is_dialled_where_it_was_checked(wire: Wire) -> None:
    wire.answers = lambda _: [PUBLIC] if len(wire.asked) % 2 else ["127.0.0.1"]
    for _ in range(6):
        async with Client(CLOSED) as client:
            ended = await asyncio.gather(*(post(client, "http://flips.example/") for _ in range(20)))
            assert {outcome.error_kind for outcome in ended} in ({"refused"}, {"blocked"})
    assert set(wire.dialled) == {PUBLIC}
    assert len(wire.dialled) == 60
    assert len(wire.asked) == 6


async def test_the_last_word_is_at_the_socket(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [["127.0.0.1"], ["127.0.0.1", "10.0.0.1", "::1"], [PUBLIC, "127.0.0.1"]]

    async def resolve(self: CheckingResolver, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in found[int(host[0])]
        ]

    monkeypatch.setattr(CheckingResolver, "resolve", resolve)
    async with Client(CLOSED) as client:
        assert (await post(client, "http://0.example/")).error_kind == "blocked"
        assert (await post(client, "http://1.example/")).error_kind in ("blocked", "refused")
        await post(client, "http://2.example/")
    assert set(wire.dialled) == {PUBLIC}


async def test_a_name_without_addresses_is_told_as_such(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Client(CLOSED) as client:
        assert (await post(client, "http://none.example/")).error_kind == "dns"
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
        assert (await post(client, "http://none.example/")).error_kind == "dns"
    assert wire.dialled == []


@pytest.fixture
def stuck(wire: Wire) -> Iterator[threading.Event]:
    """Names that begin with `slow` are looked up until the event."""
    release = threading.Event()

    def answers(host: str) -> list[str]:
        if host.startswith("slow"):
            release.wait(30)
        return [PUBLIC]

    wire.answers = answers
    yield release
    release.set()


async def test_names_that_are_slow_to_resolve_do_not_hold_up_another(wire: Wire, stuck: threading.Event) -> None:
    async with Client(CLOSED) as client:
        slow = [asyncio.ensure_future(post(client, f"http://slow{n}.example/", 1_000)) for n in range(40)]
        await asyncio.sleep(0.05)
        assert (await post(client, "http://quick.example/", 20_000)).error_kind == "refused"
        assert not any(task.done() for task in slow) or wire.dialled == [PUBLIC]
        assert {outcome.error_kind for outcome in await asyncio.gather(*slow)} == {"timeout"}
        stuck.set()
    assert wire.dialled == [PUBLIC]


async def test_look_ups_at_a_time_are_bounded(
    wire: Wire, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 3)
    async with Client(CLOSED) as client:
        ended = await asyncio.gather(*(post(client, f"http://slow{n}.example/", 300) for n in range(10)))
        assert {outcome.error_kind for outcome in ended} == {"timeout"}
        assert len(wire.asked) == 3
        stuck.set()
