"""A third party: it signs as its documentation says, and knows a tenant's URL, and no token."""

import hashlib
import hmac
from typing import Any

from plain import Api

SECRET = "a secret of the third party"


def mac(body: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).digest()


def github(body: bytes, delivery: str = "guid-1") -> dict[str, str]:
    return {
        "x-hub-signature-256": "sha256=" + mac(body).hex(), "x-github-delivery": delivery, "x-github-event": "push",
    }  # fmt: skip


def slack(body: bytes, at_s: int) -> dict[str, str]:
    signature = "v0=" + mac(b"v0:%d:" % at_s + body).hex()
    return {"x-slack-signature": signature, "x-slack-request-timestamp": str(at_s)}


class Source:
    """A third party: it knows a tenant's URL, and no token."""

    def __init__(self, api: Api, source_id: str) -> None:
        self._api = Api(api.url, "", api.tenant)
        self._api._session = api._session
        self._path = f"//in/{api.tenant}/{source_id}"

    async def send(self, body: bytes, headers: dict[str, str], method: str = "POST") -> Any:
        named = {"content-type": "application/json", **headers} if method == "POST" else headers
        return await self._api.call(method, self._path, body if method == "POST" else None, **named)
