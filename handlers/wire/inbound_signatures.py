"""Whether a request that comes in is from its source: each scheme's proof over the bytes of the body, as they came.

Every secret of the source is tried, and compared in constant time; any of them verifies. Sources: Standard Webhooks
1.0; GitHub, "Validating webhook deliveries"; Stripe, "Verify webhook signatures"; Slack, "Verifying requests from
Slack"; Shopify, "Verify webhook deliveries"; Okta, "Event hooks"; RFC 6750 (bearer) and RFC 7617 (basic).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.sources import SourceFields
from streams.core import keys

#: Of the schemes that sign a time, either way.
TOLERANCE_S = 300
#: Signatures of one request that are looked at: more than any rotation needs, and few enough to cost nothing.
MAX_SIGNATURES = 16
HMAC_HEADER = "x-signature"
API_KEY_HEADER = "x-api-key"
_SECONDS = re.compile(r"[0-9]{1,12}")

_MISSING = "the request has no signature of this source's scheme"
_WRONG = "the signature is not one of this source's secrets"
_OLD = f"the signed time is more than {TOLERANCE_S} s away from now"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request of a third party. `headers` by lower-case name, the first of each; `body` as it came."""

    headers: Mapping[str, str]
    body: bytes

    def first(self, *names: str) -> str | None:
        """The value of the first of these headers that there is."""
        return next((self.headers[name] for name in names if name in self.headers), None)


@dataclass(frozen=True, slots=True)
class Unverified:
    """Why a request is not taken for the source's, in one line that repeats nothing of it."""

    reason: str


def verify(source: SourceFields, secrets: Sequence[str], request: Incoming, now_s: int) -> Unverified | None:
    """None where the request is the source's. `secrets` are the source's, opened; `now_s` is seconds since 1970.

    A signed time may be 300 s away from now, and no more.
    """
    match source.scheme:
        case "standard":
            return _standard(secrets, request, now_s)
        case "github":
            given = request.first("x-hub-signature-256")
            return _equal(given, secrets, lambda secret: "sha256=" + _mac(secret, request.body).hex())
        case "stripe":
            return _stripe(secrets, request, now_s)
        case "slack":
            return _slack(secrets, request, now_s)
        case "shopify":
            given = request.first("x-shopify-hmac-sha256")
            return _equal(given, secrets, lambda secret: _base64(_mac(secret, request.body)))
        case "hmac":
            return _hmac(source, secrets, request)
        case "okta":
            return _equal(request.first("authorization"), secrets, str)
        case "api_key":
            return _equal(request.first((source.header or API_KEY_HEADER).lower()), secrets, str)
        case "bearer":
            return _equal(_credentials(request, "bearer"), secrets, str)
        case "basic":
            return _equal(_credentials(request, "basic"), secrets, lambda secret: _base64(secret.encode()))


def _standard(secrets: Sequence[str], request: Incoming, now_s: int) -> Unverified | None:
    names = ("webhook", "svix")
    told = [request.first(*(f"{name}-{part}" for name in names)) for part in ("id", "timestamp", "signature")]
    webhook_id, timestamp, signature = told
    if webhook_id is None or timestamp is None or signature is None:
        return Unverified(_MISSING)
    signed = b".".join((_bytes(webhook_id), _bytes(timestamp), request.body))
    given = signature.split(" ")[:MAX_SIGNATURES]
    shared = [secret for secret in secrets if not secret.startswith(keys.PUBLIC)]
    macs = ["v1," + _base64(hmac.digest(keys.mac_key(secret), signed, "sha256")) for secret in shared]
    public = [secret for secret in secrets if secret.startswith(keys.PUBLIC)]
    verified = _any_equal(given, macs) | _any_signed(given, public, signed)
    return _timely(timestamp, now_s) if verified else Unverified(_WRONG)


def _stripe(secrets: Sequence[str], request: Incoming, now_s: int) -> Unverified | None:
    parts = [part.strip().partition("=") for part in (request.first("stripe-signature") or "").split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"][:MAX_SIGNATURES]
    if len(times) != 1 or not given:
        return Unverified(_MISSING)
    signed = _bytes(times[0]) + b"." + request.body
    verified = _any_equal(given, [_mac(secret, signed).hex() for secret in secrets])
    return _timely(times[0], now_s) if verified else Unverified(_WRONG)


def _slack(secrets: Sequence[str], request: Incoming, now_s: int) -> Unverified | None:
    given, timestamp = request.first("x-slack-signature"), request.first("x-slack-request-timestamp")
    if timestamp is None:
        return Unverified(_MISSING)
    signed = b"v0:" + _bytes(timestamp) + b":" + request.body
    refused = _equal(given, secrets, lambda secret: "v0=" + _mac(secret, signed).hex())
    return refused or _timely(timestamp, now_s)


def _hmac(source: SourceFields, secrets: Sequence[str], request: Incoming) -> Unverified | None:
    given = request.first((source.header or HMAC_HEADER).lower())
    if given is None:
        return Unverified(_MISSING)
    algorithm = source.algorithm or "sha256"
    given = given.removeprefix(f"{algorithm}=")
    if source.encoding == "base64":
        return _equal(given, secrets, lambda secret: _base64(_mac(secret, request.body, algorithm)))
    # Both cases of hex are in use.
    return _equal(given.lower(), secrets, lambda secret: _mac(secret, request.body, algorithm).hex())


def _credentials(request: Incoming, scheme: str) -> str | None:
    name, _, credentials = (request.first("authorization") or "").partition(" ")
    return credentials.strip() if name.lower() == scheme else None


def _timely(timestamp: str, now_s: int) -> Unverified | None:
    if not _SECONDS.fullmatch(timestamp) or abs(now_s - int(timestamp)) > TOLERANCE_S:
        return Unverified(_OLD)
    return None


def _equal(given: str | None, secrets: Sequence[str], proof: Callable[[str], str]) -> Unverified | None:
    if given is None:
        return Unverified(_MISSING)
    return None if _any_equal([given], map(proof, secrets)) else Unverified(_WRONG)


def _any_equal(given: Sequence[str], wanted: Iterable[str]) -> bool:
    """Looks at all of them, also when one has been found: how long it takes tells nothing of which."""
    found = False
    for proof in wanted:
        for text in given:
            found |= hmac.compare_digest(_bytes(text), _bytes(proof))
    return found


def _any_signed(given: Sequence[str], public: Sequence[str], signed: bytes) -> bool:
    found = False
    for secret in public:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(secret.removeprefix(keys.PUBLIC)))
        for text in given:
            found |= text.startswith("v1a,") and _is_signed(key, text.removeprefix("v1a,"), signed)
    return found


def _is_signed(key: Ed25519PublicKey, text: str, signed: bytes) -> bool:
    try:
        signature = base64.b64decode(text, validate=True)
        # Base64 may write the same bytes in several ways, of which one is base64's own.
        key.verify(signature if _base64(signature) == text else b"", signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _mac(secret: str, signed: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), signed, algorithm)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    """A header's bytes as they came."""
    return text.encode("utf-8", "surrogateescape")
