"""No spelling of an address of our own networks is reached, and every ordinary one is."""

import ipaddress
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import addresses


def words(text: str) -> list[str]:
    return text.split()


INSIDE = words("""
0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.1.2.3 169.254.169.254
169.254.170.2 172.16.0.0 172.31.255.255 192.0.0.8 192.0.2.255 192.88.99.2 192.168.1.1 198.18.0.0 198.19.255.255
198.51.100.7 203.0.113.255 224.0.0.251 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::2 ::127.0.0.1 ::ffff:0.0.0.0 ::ffff:127.0.0.1 ::ffff:a9fe:a9fe ::FFFF:10.0.0.1 0:0:0:0:0:ffff:c0a8:0101
64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::ac10:1 64:ff9b:1::808:808 100::1 2001::1 2001:0:808:808:: 2001:db8::1
2002:7f00:1:: 2002:a9fe:a9fe::1 2002:0a00:0001:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fdff:ffff::1 fe80::1 fe80::1%1
febf:ffff::1 fec0::1 ff02::1 ff0e::1 ::ffff:0:7f00:1 2606:4700::5efe:127.0.0.1 2606:4700::200:5efe:10.0.0.1
""")
OUTSIDE = words("""
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.255.255 169.255.0.0
172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001:81b::200e ::ffff:8.8.8.8 64:ff9b::808:808
2606:4700::5efe:8.8.8.8 2606:4700::100:5efe:10.0.0.1
""")
SPELLINGS = words("""
127.0.0.1 127.1 127.0.1 0177.0.0.1 0177.1 0x7f.0.0.1 0x7f.1 0X7F.0X1 0x7f000001 0x7F000001 2130706433 017700000001
127.0.0.1. 127.1. 0x7f.0.1
""")
PRIVATE_URLS = [f"https://{spelling}/" for spelling in SPELLINGS]
PRIVATE_URLS += words("""
https://localhost/ https://LocalHost/ https://localhost./ https://x.localhost/ https://[::1]/ https://[::ffff:127.0.0.1]/
https://[::ffff:7f00:1]:8443/ https://[0:0:0:0:0:0:0:1]/ https://[fe80::1%25eth0]/ https://[64:ff9b::7f00:1]/
https://169.254.169.254/latest/meta-data https://[fd00:ec2::254]/ https://0/ https://0.0.0.0/ https://10.1/ https://3232235777/
https://127.0.0.1:443/ https://192.168.0.1?x=1 https://0x/ https://1.2.3.4.5/ https://256.1.1.1/ https://08.8.8.8/
https://4294967296/ https://example.1/ https://127.0.0.0x1/
https://8.8.8.8./
""")
BROKEN_URLS = [
    *words("""
    http://a.example/ ftp://a.example/ file:///etc/passwd gopher://a.example/ //a.example/ a.example https:// https:///x
    https:a.example https://user@a.example/ https://user:pass@a.example/ https://a.example@10.0.0.1/ https://a.example/#x
    https://a.example:0/ https://a.example:65536/ https://a.example:-1/ https://a.example:x/ https://a..example/
    https://.a.example/ https://-a.example/ https://a-.example/ https://a%2eexample/ https://[::1/ https://[]/
    https://[v1.x]/ https://a,b.example/ https://a.example\\@10.0.0.1/ https://é.example/ https://a。example/
    """),
    "",
    " https://a.example/",
    "https://a.example/ x",
    "https://a.example/\r\nx: y",
    "https://a.exa\tmple/",
    "https://a.example/\0",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 130 + "example/",
    "https://a.example/" + "x" * 2_048,
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_of_our_own_networks_is_out_of_reach(address: str) -> None:
    reason = addresses.refuse_address(address)
    assert reason is not None
    assert "\n" not in reason


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_within_reach(address: str) -> None:
    assert addresses.refuse_address(address) is None


@pytest.mark.parametrize("text", ["", "a.example", "1.2.3", "1.2.3.4/8", "::1::", "0x7f.1", "1.2.3.4\n"])
def test_what_is_no_address_is_out_of_reach(text: str) -> None:
    assert addresses.refuse_address(text) is not None


@pytest.mark.parametrize("url", PRIVATE_URLS + BROKEN_URLS)
def test_a_url_out_of_reach_or_broken_is_refused_in_one_line(url: str) -> None:
    reason = addresses.refuse_url(url, allow_http=False)
    assert reason is not None
    assert len(reason.splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    words("""
    https://a.example HTTPS://A.EXAMPLE/ https://a.example:8443/in?x=1&y=%20 https://xn--bcher-kva.example/ https://a_b.example/
    https://8.8.8.8/ https://[2606:4700:4700::1111]:443/x https://a.example./ https://1a.example/ https://localhost.example/
    """),
)
def test_an_ordinary_url_is_taken(url: str) -> None:
    assert addresses.refuse_url(url, allow_http=False) is None
    assert addresses.refuse_url("http" + url[5:], allow_http=True) is None


def test_plain_http_reaches_no_further() -> None:
    assert [url for url in PRIVATE_URLS if addresses.refuse_url("http" + url[5:], allow_http=True) is None] == []


def test_a_url_with_a_password_is_refused_without_repeating_it() -> None:
    assert "hunter2" not in (addresses.refuse_url("https://user:hunter2@a.example/", allow_http=False) or "")


@pytest.mark.parametrize("host", SPELLINGS)
def test_every_spelling_of_an_address_is_seen(host: str) -> None:
    assert addresses.literal(host) == "127.0.0.1"


@pytest.mark.parametrize("host", ["a.example", "1a", "0xg", "1.2.3.4.5", "1..2", "", "127.0.0.1.example", "-1"])
def test_a_name_is_no_address(host: str) -> None:
    assert addresses.literal(host) is None


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from(["0", "1", "7", "10", "127", "0177", "0x7f", "255", "256", "65535"]), min_size=1, max_size=4
    )
)
def test_what_the_system_resolver_takes_for_an_address_is_the_same_address(parts: list[str]) -> None:
    host = ".".join(parts)
    try:
        taken = socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        taken = "0.0.0.0"
    assert addresses.literal(host) == taken


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_an_ipv4_address_inside_an_ipv6_one_is_never_more_in_reach_than_alone(address: ipaddress.IPv4Address) -> None:
    value = int(address)
    tunnelled = [f"::ffff:{address}", f"64:ff9b::{address}", str(ipaddress.IPv6Address((0x2002 << 112) | value << 80))]
    for spelling in tunnelled:
        if addresses.refuse_address(str(address)) is not None:
            assert addresses.refuse_address(spelling) is not None


@settings(max_examples=60)
@given(st.ip_addresses())
def test_whatever_is_not_global_is_out_of_reach(address: addresses.Address) -> None:
    if not address.is_global and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert addresses.refuse_address(str(address)) is not None


@pytest.mark.parametrize(
    ("allowed", "url", "reached"),
    [
        ("127.0.0.0/8", "https://127.0.0.1/", True),
        ("127.0.0.0/8", "https://localhost/", True),
        ("127.0.0.0/8", "https://127.1/", False),
        ("127.0.0.0/8", "https://10.0.0.1/", False),
        ("127.0.0.0/8", "https://[::1]/", False),
        ("10.0.0.0/24", "https://10.0.0.255/", True),
        ("10.0.0.0/24", "https://10.0.1.0/", False),
        ("fd00::/8", "https://[fd12::1]/", True),
        ("fd00::/8", "https://[fe80::1]/", False),
        ("0.0.0.0/0", "https://[::1]/", False),
    ],
)
def test_an_allowed_network_is_within_reach_and_no_other(allowed: str, url: str, reached: bool) -> None:
    refused = addresses.refuse_url(url, allow_http=False, allowed=[ipaddress.ip_network(allowed)])
    assert (refused is None) == reached


@settings(max_examples=50)
@given(st.text(max_size=40), st.sampled_from(["", "https://", "https://[", "https://a.example:"]))
def test_any_text_gets_an_answer(text: str, start: str) -> None:
    assert isinstance(addresses.refuse_url(start + text, allow_http=True), str | None)
    assert isinstance(addresses.refuse_address(text), str | None)
    assert isinstance(addresses.literal(text), str | None)
