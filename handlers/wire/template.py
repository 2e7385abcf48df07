"""The head of an attempt's request, of which all but a few words are the same for every delivery to an endpoint."""

from __future__ import annotations

from handlers.wire import request, signing
from handlers.wire.payload import Body
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings


class Template:
    """What the requests to one endpoint have in common. What it makes is what `request.headers` says, line by line."""

    def __init__(self, settings: EndpointSettings, user_agent: str) -> None:
        self._settings = settings
        self._agent = f"user-agent: {user_agent}\r\nwebhook-id: "
        own = [*(settings.headers or {}).items(), *request.authorize(settings)]
        self._own = "".join(f"{name}: {value}\r\n" for name, value in own)
        self._own_count = len(own)

    def fill(self, delivery: Delivery, body: Body, now_ms: int) -> str:
        """The lines of an attempt that begins at `now_ms`. Raises ValueError where one would be more than one."""
        timestamp_s = now_ms // 1_000
        lines = (
            f"content-type: {body.content_type}\r\n{self._agent}{delivery.delivery_id}\r\n"
            f"webhook-timestamp: {timestamp_s}\r\nwebhook-attempt: {delivery.attempt}\r\n"
        )
        count = 5 + self._own_count
        if secrets := request.secrets_at(self._settings, now_ms):
            signature = signing.sign(secrets, delivery.delivery_id, timestamp_s, body.body)
            lines += f"webhook-signature: {signature}\r\n"
            count += 1
        if delivery.replay_id is not None:
            lines += f"webhook-replay: {delivery.replay_id}\r\n"
            count += 1
        if delivery.traceparent is not None:
            lines += f"traceparent: {delivery.traceparent}\r\n"
            count += 1
        for name, value in body.headers:
            lines += f"{name}: {value}\r\n"
            count += 1
        lines += self._own
        request.refuse_breaks(lines, count)
        return lines
