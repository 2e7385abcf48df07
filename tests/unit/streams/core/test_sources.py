"""What may be a source, what is told of one that may not, and where its secrets open."""

import base64
from typing import Any

import orjson
import pytest

from schemas.sources import SourceRegistered, SourceUnregistered
from streams.core import reading, sealing, sources
from streams.core.reading import Unreadable
from streams.core.sealing import CannotOpen, Keyring

KEY = bytes(range(32))
RING = Keyring({"k": KEY})
WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()


def read(**fields: Any) -> Any:
    given = {"type": "source.registered", "source_id": "s", "scheme": "github", "secrets": ["secret"], **fields}
    return reading.read_change(orjson.dumps({name: value for name, value in given.items() if value is not None}))


def refused(**fields: Any) -> str | None:
    change = read(**fields)
    return change.reason if isinstance(change, Unreadable) else sources.refuse(change, "t", RING)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"secrets": ["a", "b"], "event_type": "$.a.b", "items": {"path": "$.c", "as": "each"}, "description": "x"},
        {"scheme": "standard", "secrets": [WHSEC, "whpk_" + base64.b64encode(b"p" * 32).decode()]},
        {"scheme": "hmac", "header": "X-Sig", "encoding": "base64", "algorithm": "sha256", "event_type": "a b/c"},
        {"scheme": "api_key", "header": "authorization"},
        {"scheme": "basic", "secrets": ["user:pass:word"]},
        {"scheme": "okta", "secrets": ["Basic dTpw"], "items": {"as": "whole"}},
        {"unknown": 1},
    ],
)
def test_what_may_be_a_source(fields: dict[str, Any]) -> None:
    assert refused(**fields) is None
    assert isinstance(read(type="source.unregistered"), SourceUnregistered)
    assert sources.refuse(SourceUnregistered(type="source.unregistered", source_id="s"), "t", RING) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scheme": "md5"}, "scheme"),
        ({"scheme": None}, "scheme"),
        ({"source_id": "a/b"}, "source_id"),
        ({"source_id": None}, "source_id"),
        ({"secrets": []}, "secrets"),
        ({"secrets": None}, "secrets"),
        ({"secrets": ["x"] * 17}, "secrets"),
        ({"secrets": [5]}, "secrets"),
        ({"secrets": ["x", ""]}, "empty"),
        ({"secrets": ["a\nb"]}, "control characters"),
        ({"scheme": "standard", "secrets": ["hunter22"]}, "whsec_"),
        ({"scheme": "standard", "secrets": ["whsk_" + base64.b64encode(b"s" * 32).decode()]}, "whsec_"),
        ({"scheme": "standard", "secrets": ["whpk_AAAA"]}, "32 bytes"),
        ({"scheme": "basic", "secrets": ["ada77"]}, "user:password"),
        ({"scheme": "basic", "secrets": ["ada77:"]}, "user:password"),
        ({"scheme": "basic", "secrets": [":pa55word"]}, "user:password"),
        ({"scheme": "bearer", "secrets": [" a"]}, "space"),
        ({"scheme": "api_key", "secrets": ["ключ"]}, "ISO 8859-1"),
        ({"header": "x-sig"}, "header: is for api_key and hmac only"),
        ({"encoding": "hex"}, "encoding: is for hmac only"),
        ({"scheme": "api_key", "algorithm": "sha256"}, "algorithm: is for hmac only"),
        ({"scheme": "hmac", "algorithm": "md5"}, "algorithm"),
        ({"scheme": "hmac", "header": "a b"}, "not the name of one"),
        ({"scheme": "hmac", "header": "Content-Type"}, "HTTP's own"),
        ({"event_type": "hookfold.test"}, "Hookfold's own"),
        ({"event_type": "$x"}, "neither a name nor a path"),
        ({"event_type": "$.a..b"}, "not a path"),
        ({"event_type": "$.a[0]"}, "not a path"),
        ({"event_type": "$" + ".a" * 17}, "deeper than"),
        ({"event_type": "é" * 129}, "256 bytes"),
        ({"event_type": "a\x7f"}, "control characters"),
        ({"items": {"path": "a", "as": "each"}}, "items.path"),
        ({"items": {"path": "$.a"}}, "items.as"),
        ({"items": {"path": "$.a", "as": "both"}}, "items.as"),
    ],
)
def test_what_may_not_is_told_without_its_secret(fields: dict[str, Any], reason: str) -> None:
    told = refused(**fields)
    assert told is not None
    assert reason in told
    assert "\n" not in told
    assert not any(
        isinstance(secret, str) and len(secret) > 4 and secret in told for secret in fields.get("secrets") or ()
    )


def test_its_secrets_open_for_no_endpoint_no_other_source_and_no_other_tenant() -> None:
    change = read()
    sealed = sealing.seal_secrets(change, RING, "t", sealing.name_of_source("s"))
    assert sealed.secrets[0].startswith("sealed:e.k.")
    assert sealing.open_secrets(sealed, RING, "t", sealing.name_of_source("s")) == change
    for tenant, name in (("t", "s"), ("t", sealing.name_of_source("r")), ("u", sealing.name_of_source("s"))):
        with pytest.raises(CannotOpen):
            sealing.open_secrets(sealed, RING, tenant, name)
    endpoints = RING.seal("secret", "t", "s")
    assert sources.refuse(read(secrets=[endpoints]), "t", RING) is not None
    assert sources.refuse(read(secrets=[RING.seal("secret", "t", "in/s")]), "t", RING) is None
    assert sources.refuse(read(secrets=[RING.seal("secret", "u", "in/s")]), "t", RING) is not None


def test_it_is_kept_sealed_and_one_whose_key_is_missing_as_it_came() -> None:
    kept = sources.kept(read(), "t", RING)
    assert isinstance(kept, SourceRegistered)
    assert kept.secrets == (RING.seal("secret", "t", "in/s"),)
    for_any = sources.kept(read(secrets=[RING.seal_for_any("secret")]), "t", RING)
    assert for_any == kept
    assert sources.kept(read(), "t", Keyring({})) == read()
    assert sources.kept(kept, "t", Keyring({"other": KEY})) == kept
    assert sources.kept(kept, "u", RING) is None
    assert sources.kept(read(event_type="$."), "t", RING) is None
    # The API takes none that was sealed for any: its caller might have found it.
    bound = Keyring({"k": KEY}, bound_only=True)
    assert sources.refuse(read(secrets=[RING.seal_for_any("secret")]), "t", bound) is not None
