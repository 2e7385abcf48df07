"""Where deliveries may go: no address of our own networks, however it is spelt (server-side request forgery)."""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2_048
#: Visible ASCII, but for the backslash.
_URL = re.compile(r"[!-\[\]-~]*")
_HOST = re.compile(r"^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*$")
_NETLOC = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]+)(:[0-9]*)?")
_NUMBER = re.compile(r"^(0[xX][0-9a-fA-F]*|[0-9]+)$")

#: The special-purpose registries of IANA, and what clouds keep for themselves.
_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "2620:4f:8000::/48",
        "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
#: The only part of IPv6 that is given out (RFC 4291, 2.4).
_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: What an interface identifier begins with before an IPv4 address, but for the bit that says global (RFC 5214, 6.1).
_ISATAP = 0x00005EFE


def refuse_address(text: str, allowed: Sequence[Network] = ()) -> str | None:
    """Why the IP address must not be reached, in one line; None when it may.

    An address in `allowed` may be reached although it is private. An IPv4 address inside an IPv6 one (mapped, NAT64,
    6to4, Teredo, ISATAP) is judged as the IPv4 address.
    """
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return f"{text[:64]!r} is not an IP address"
    for inner in (address, *_embedded(address)):
        if any(inner in network for network in allowed):
            continue
        if any(inner in network for network in _DENIED) or not (inner.is_global or inner in _NAT64):
            return f"{address} is not a public address"
        if isinstance(inner, ipaddress.IPv6Address) and not (
            inner in _UNICAST or inner in _NAT64 or inner.ipv4_mapped is not None
        ):
            return f"{address} is not a public address"
    return None


def refuse_url(url: str, *, allow_http: bool, allowed: Sequence[Network] = ()) -> str | None:
    """Why an endpoint cannot have this URL, in one line; None when it can. A name is judged when it is resolved."""
    if len(url) > MAX_URL:
        return f"the url is longer than {MAX_URL} characters"
    if not _URL.fullmatch(url):
        return "the url has white space, control characters, a backslash or letters outside ASCII"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        return f"the url cannot be read: {problem}"
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_http):
        return "the url must begin with https://" + (" or http://" if allow_http else "")
    if "@" in parts.netloc:
        return "the url names a user; use auth"
    if "#" in url:
        return "the url has a fragment"
    if port == 0:
        return "the url's port is 0"
    return _refuse_host(parts.netloc, (parts.hostname or ""), allowed)


def literal(host: str) -> str | None:
    """The address that `host` spells in any form a resolver would take for one (`127.1`, `0x7f000001`); else None."""
    bare = host.removesuffix(".")
    if ":" in bare:
        return bare.split("%", 1)[0]
    numbers = bare.split(".")
    if not 1 <= len(numbers) <= 4 or not all(_NUMBER.fullmatch(number) for number in numbers):
        return None
    *front, last = (_number(number) for number in numbers)
    if any(number > 255 for number in front) or last >= 256 ** (4 - len(front)):
        return "0.0.0.0"  # no address at all; out of reach
    value = last
    for place, number in enumerate(front):
        value += number << 8 * (3 - place)
    return str(ipaddress.IPv4Address(value))


def _refuse_host(netloc: str, host: str, allowed: Sequence[Network]) -> str | None:
    if not host:
        return "the url has no host"
    if not _NETLOC.fullmatch(netloc):
        return "the url's host and port cannot be read"
    bare = host.removesuffix(".").lower()
    if netloc.startswith("["):
        return refuse_address(host, allowed) if "%" not in host else "the url's address has a zone"
    if (spelt := literal(bare)) is not None:
        if spelt != host:  # a dot at the end, too: HTTP clients take such a host for a name, or for nothing
            return f"the url's address is not written as four decimal numbers: {host[:64]!r}"
        return refuse_address(spelt, allowed)
    # A name whose last label is a number is no name (WHATWG URL, 3.5); some resolver may make an address of it.
    if not _HOST.fullmatch(bare) or len(bare) > 253 or _NUMBER.fullmatch(bare.rpartition(".")[2]):
        return f"{host[:64]!r} is not a host name"
    if bare == "localhost" or bare.endswith(".localhost"):
        # RFC 6761: always the loopback interface.
        return refuse_address("127.0.0.1", allowed)
    return None


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    if text.startswith("0") and len(text) > 1:
        return int(text, 8) if all(c in "01234567" for c in text) else 2**32
    return int(text) if len(text) <= 10 else 2**32


def _embedded(address: Address) -> list[ipaddress.IPv4Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (int(address) >> 32) & 0xFDFFFFFF == _ISATAP:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [found for found in inner if found is not None]
