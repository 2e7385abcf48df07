"""The client-credentials grant of OAuth 2.0 (RFC 6749, 4.4): what is asked, and what the answer is worth."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode

import orjson

from schemas.changes import OAuth2Auth

#: A token that does not say how long it is valid.
DEFAULT_LIFETIME_S = 300
#: So long before its end, or a fifth of its life where that is less, a token is not used any more.
MARGIN_MS = 30_000


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, and until when it is used (ms since 1970)."""

    token: str
    until_ms: int


def ask(auth: OAuth2Auth, user_agent: str) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of the POST to the token endpoint. The client is named by HTTP Basic (RFC 6749, 2.3.1)."""
    pair = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret)}".encode()
    form = {"grant_type": "client_credentials"} | ({"scope": auth.scope} if auth.scope is not None else {})
    headers = [
        ("authorization", "Basic " + base64.b64encode(pair).decode()),
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
        ("user-agent", user_agent),
    ]
    return headers, urlencode(form).encode()


def read(body: bytes, now_ms: int) -> Grant | None:
    """The token in the answer to a grant; None where there is none that can stand in a header."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or str(answer.get("token_type", "bearer")).lower() != "bearer":
        return None
    token, lifetime_s = answer.get("access_token"), answer.get("expires_in", DEFAULT_LIFETIME_S)
    if not isinstance(token, str) or not token or any(not 32 < ord(c) < 127 for c in token):
        return None
    if isinstance(lifetime_s, str) and lifetime_s.isascii() and lifetime_s.isdigit():
        lifetime_s = int(lifetime_s[:9])
    if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int | float) or not 0 < lifetime_s < 10**9:
        lifetime_s = DEFAULT_LIFETIME_S
    life_ms = int(lifetime_s * 1000)
    return Grant(token, now_ms + life_ms - min(MARGIN_MS, life_ms // 5))
