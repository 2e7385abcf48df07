"""No spelling of an address of our own networks is let through."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import addresses, headers

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
REFUSED_ADDRESSES = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2001:10::1",
    "2001:20::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:c0a8:101::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "ff00::1",
    "ff02::1",
    "ff05::2",
]
REFUSED_HOSTS = [
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.1",
    "127.1",
    "127.0.1",
    "0",
    "0x0",
    "00000000",
    "1.1",
    "8.8.8",
    "8.8.8.8.8.8",
    "999.1.1.1",
    "256.0.0.1",
    "127.0.0.1.",
    "10.0.0.1.",
    "2852039166",
    "0xa9fea9fe",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "[fe80::1%25eth0]",
    "exa_mple..com",
    "-a.com",
    "a-.com",
    "%31%32%37.0.0.1",
]


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_out_of_reach_is_refused(address: str) -> None:
    assert addresses.refuse_address(address)


@pytest.mark.parametrize("host", REFUSED_HOSTS)
def test_a_url_with_such_a_host_is_refused(host: str) -> None:
    assert addresses.refuse_url(f"https://{host}/x", allow_http=True)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_a_public_address_is_within_reach(address: str) -> None:
    assert addresses.refuse_address(address) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "//example.com/",
        "example.com",
        "https://",
        "https:///x",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com/#part",
        "https://example.com:0/",
        "https://example.com:70000/",
        "https://example.com:x/",
        "https://exam ple.com/",
        "https://example.com/\r\nx",
        "https://example.com\\@127.0.0.1/",
        "https://\uff45xample.com/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://example.com/" + "x" * 2_048,
        "https://[::1/",
    ],
)
def test_a_url_that_is_not_plain_https_is_refused(url: str) -> None:
    assert addresses.refuse_url(url, allow_http=False)


@pytest.mark.parametrize("url", ["https://example.com", "https://a-b.example.com:8443/x?y=z", "https://8.8.8.8/"])
def test_a_plain_url_is_taken(url: str) -> None:
    assert addresses.refuse_url(url, allow_http=False) is None


def test_an_allowed_network_is_within_reach_and_no_other() -> None:
    assert addresses.refuse_url("http://127.0.0.1:8080/", allow_http=True, allowed=LOOPBACK) is None
    assert addresses.refuse_url("http://localhost/", allow_http=True, allowed=LOOPBACK) is None
    assert addresses.refuse_url("http://10.0.0.1/", allow_http=True, allowed=LOOPBACK)
    assert addresses.refuse_url("http://127.1/", allow_http=True, allowed=LOOPBACK)


@given(st.text())
def test_any_text_as_url_gets_an_answer(url: str) -> None:
    addresses.refuse_url(url, allow_http=True)
    addresses.refuse_url(f"https://{url}/", allow_http=False)


@given(st.ip_addresses(v=4))
def test_every_spelling_of_a_number_is_seen_as_the_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for spelling in (str(number), hex(number), f"{number >> 24}.{number & 0xFFFFFF}", f"0{number:o}", str(address)):
        assert addresses.literal(spelling) == str(address)


@pytest.mark.parametrize(
    "name",
    ["webhook-id", "Webhook-Signature", "content-type", "Host", "content-length", "Transfer-Encoding", "connection",
     "te", "upgrade", "expect", "proxy-authorization", "traceparent", "ce-id", "a b", "", "a:b", "a\n", "é"],
)  # fmt: skip
def test_a_header_of_our_own_or_of_the_connection_is_refused(name: str) -> None:
    assert headers.refuse_header(name, "x")


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0", "\x7f", "€", "x" * 5_000])
def test_a_value_that_breaks_the_line_is_refused_and_not_repeated(value: str) -> None:
    refused = headers.refuse_header("x-a", value)
    assert refused
    assert value not in refused


def test_an_ordinary_header_is_taken() -> None:
    assert headers.refuse_header("X-Api-Key", "s3cret, with\ttab and é") is None
