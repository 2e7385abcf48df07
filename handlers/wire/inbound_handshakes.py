"""What third parties ask before they send: Slack's and Okta's challenges, and CloudEvents' question for permission."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from handlers.wire.inbound_signatures import Incoming
from schemas.sources import SourceFields

#: A DNS expression, as "HTTP 1.1 Web Hooks for Event Delivery" 1.0.2 has it in section 4.1.1.
_ORIGIN = re.compile(r"[A-Za-z0-9.:*_/-]{1,512}")
MAX_CHALLENGE = 4_096


class _UrlVerification(msgspec.Struct):
    type: str
    challenge: str


_DECODER = msgspec.json.Decoder(_UrlVerification)


def slack_challenge(source: SourceFields, request: Incoming) -> str | None:
    """What Slack wants to hear again, where the body asks for that; the request has been verified before."""
    if source.scheme != "slack" or b"url_verification" not in request.body:
        return None
    try:
        asked = _DECODER.decode(request.body)
    except msgspec.DecodeError:
        return None
    return asked.challenge if asked.type == "url_verification" else None


def okta_challenge(source: SourceFields, headers: Mapping[str, str]) -> str | None:
    """What Okta wants to hear again, where its GET asks for that."""
    challenge = headers.get("x-okta-verification-challenge")
    if source.scheme != "okta" or challenge is None:
        return None
    return challenge if challenge.isascii() and len(challenge) <= MAX_CHALLENGE else None


def permission(headers: Mapping[str, str], rate_per_min: int) -> dict[str, str] | None:
    """The headers that let a sender of CloudEvents send, at most as often as we take; None where nobody asks."""
    origin = headers.get("webhook-request-origin")
    if origin is None or not _ORIGIN.fullmatch(origin):
        return None
    wanted = headers.get("webhook-request-rate", "")
    asked = int(wanted) if re.fullmatch(r"[0-9]{1,9}", wanted) else 0
    allowed = min(asked, rate_per_min) if asked else rate_per_min
    return {"webhook-allowed-origin": origin, "webhook-allowed-rate": str(allowed)}
