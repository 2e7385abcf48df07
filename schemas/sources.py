"""Sources: third parties that may send events in. Changes on `subscriptions`, and how the API shows them."""

from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints

from schemas.model import Identifier, Record

Scheme = Literal["standard", "github", "stripe", "slack", "shopify", "okta", "hmac", "api_key", "bearer", "basic"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
#: Each is tried for each request.
MAX_SECRETS = 16


class Items(Record):
    """Where a batch's items are in the body, and whether they become an event each or the body one as a whole."""

    # `as` is a word of Python's own.
    model_config = ConfigDict(serialize_by_alias=True)

    path: Annotated[str, StringConstraints(min_length=1, max_length=512)] = "$"
    taken: Literal["each", "whole"] = Field(alias="as")


class SourceFields(Record):
    """How a third party's requests are verified and read; what is absent has its scheme's default.

    `secrets`: any of them verifies, so that one can be changed for another without a gap. `event_type` is a name, or
    a path into the body (`$.type`). `header` is for `hmac` and `api_key`; `encoding` and `algorithm` are for `hmac`.
    """

    scheme: Scheme
    secrets: tuple[Annotated[str, StringConstraints(max_length=8192)], ...] | None = Field(
        default=None, min_length=1, max_length=MAX_SECRETS, repr=False
    )
    event_type: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    items: Items | None = None
    header: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    encoding: Literal["hex", "base64"] | None = None
    algorithm: Literal["sha256"] | None = None
    description: Annotated[str, StringConstraints(max_length=4096)] | None = None


class SourceRegistered(SourceFields):
    """A new source, or the same id again, replaced whole."""

    type: Literal["source.registered"]
    source_id: Identifier
    secrets: tuple[Annotated[str, StringConstraints(max_length=8192)], ...] = Field(
        min_length=1, max_length=MAX_SECRETS, repr=False
    )


class SourceUnregistered(Record):
    """The source is gone; nothing comes in by it any more."""

    type: Literal["source.unregistered"]
    source_id: Identifier


SourceChange = Annotated[SourceRegistered | SourceUnregistered, Field(discriminator="type")]


class SourceShown(Record):
    """A source as anyone who may read it sees it. `path`: where the third party sends to, under the gateway's URL."""

    tenant: str
    source_id: str
    scheme: Scheme
    path: str
    registered_at_ms: int
    secret_count: int = Field(description="how many secrets verify")
    event_type: str | None = None
    items: Items | None = None
    header: str | None = None
    encoding: Literal["hex", "base64"] | None = None
    algorithm: Literal["sha256"] | None = None
    description: str | None = None


class SourceWithSecret(SourceShown):
    """The same, with a secret that was made just now and is shown this once."""

    secret: str | None = None


class SourceAccepted(Record):
    """The change is in the log; this gateway does not go by it yet."""

    source_id: str
    secret: str | None = None


class SourcePage(Record):
    """Sources by id."""

    items: tuple[SourceShown, ...]
    next_cursor: str | None
