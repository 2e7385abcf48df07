"""The receivers of a run: they answer by the plan, and note what they got, when, and what they said."""

import itertools
import json
import time
from typing import Any

from plain import Answer, Post, Receiver
from stack import free_port
from standardwebhooks.webhooks import WebhookVerificationError

from tests.chaos import plan
from tests.chaos.observed import Observed, Posted


class Answering:
    """What every receiver says. One that has accepted an item of a batch does not fail it when it comes again."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._requests = itertools.count(1)
        self._accepted: set[str] = set()

    def __call__(self, post: Post) -> int | Answer:
        """The answer to a request, noted."""
        try:
            post.verify()
        except WebhookVerificationError:
            self._observed.bad_signatures += 1
        body = json.loads(post.body)
        return self._to_batch(post, body) if isinstance(body, list) else self._to_one(post)

    def _to_one(self, post: Post) -> int:
        webhook_id, attempt = post.headers["webhook-id"], int(post.headers["webhook-attempt"])
        status = plan.answer(webhook_id, attempt)
        self._note(post, next(self._requests), webhook_id, "", accepted=status < 300)
        return status

    def _to_batch(self, post: Post, items: list[dict[str, Any]]) -> int | Answer:
        batch_id, request = post.headers["webhook-id"], next(self._requests)
        ids = [item["id"] for item in items]
        whole = plan.fails_whole(batch_id) and not self._accepted.intersection(ids)
        failed = {one for one in ids if one not in self._accepted and (whole or plan.fails_item(batch_id, one))}
        self._accepted.update(one for one in ids if one not in failed)
        for one in ids:
            self._note(post, request, one, batch_id, accepted=one not in failed)
        if whole:
            return plan.failure(batch_id)
        return Answer(body=json.dumps({"failed": [{"id": one, "error": "as planned"} for one in failed]}).encode())

    def _note(self, post: Post, request: int, delivery_id: str, batch_id: str, *, accepted: bool) -> None:
        attempt, number = int(post.headers["webhook-attempt"]), int(post.query.get("number", 0))
        self._observed.posts.append(
            Posted(delivery_id, attempt, number, batch_id, accepted, post.at_s, time.time(), request)
        )


class Absentee:
    """A receiver that can be away: then its port refuses connections."""

    def __init__(self, answering: Answering, delay_s: float) -> None:
        self._receiver = Receiver(free_port())
        self._receiver.answers["/in"] = answering
        self._receiver.delay_s = delay_s

    async def come(self) -> None:
        """Listen."""
        await self._receiver.__aenter__()

    async def go(self) -> None:
        """Answer what is under way, and be away."""
        await self._receiver.__aexit__(None, None, None)

    @property
    def url(self) -> str:
        """Where its endpoints point."""
        return self._receiver.url + "/in"
