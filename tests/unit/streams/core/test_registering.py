"""What an endpoint may be registered with; what is not served is refused; secrets overlap as long as they were told."""

import base64
import ipaddress
from typing import Any

import orjson
import pytest

from handlers.wire import request
from schemas.endpoints import EndpointRecord, EndpointSettings
from streams.core import lifecycle, reading
from streams.core.lifecycle import Refused
from streams.core.registering import Limits

FIRST, SECOND, THIRD = ("whsec_" + base64.b64encode(bytes([byte]) * 24).decode() for byte in b"abc")
BASE: dict[str, Any] = {"url": "https://a.example/", "subscriptions": [{"event_types": ["a"]}], "secrets": [FIRST]}


def put(
    record: EndpointRecord | None, kind: str, at_ms: int = 0, limits: Limits | None = None, **fields: Any
) -> EndpointRecord | Refused:
    change = reading.read_change(orjson.dumps({"type": kind, "endpoint_id": "e", **fields}))
    if isinstance(change, reading.Unreadable):
        return Refused(change.reason)
    offset = record.current.offset + 1 if record else 0
    return lifecycle.apply(
        record, change, tenant="t", partition=0, offset=offset, at_ms=at_ms, limits=limits or Limits()
    )


def settings_of(record: EndpointRecord | Refused) -> EndpointSettings:
    assert isinstance(record, EndpointRecord), record
    assert record.current.settings is not None
    return record.current.settings


def registered(**fields: Any) -> EndpointRecord:
    record = put(None, "endpoint.registered", **{**BASE, **fields})
    assert isinstance(record, EndpointRecord), record
    return record


REFUSED: list[dict[str, Any]] = [
    {"batch": {"max_items": 0, "max_wait_ms": 100}},
    {"batch": {"max_items": 1_001, "max_wait_ms": 100}},
    {"batch": {"max_items": 10, "max_wait_ms": 60_001}},
    {"batch": {"max_items": 10}},
    {"batch": {"max_items": 10, "max_wait_ms": 1}, "payload": {"format": "data"}},
    {"batch": {"max_items": 10, "max_wait_ms": 1}, "payload": {"format": "cloudevents-binary"}},
    {"payload": {"format": "standard", "fields": ["id"]}},
    {"payload": {"format": "standard", "fields": []}},
    {"payload": {"fields": ["data..id"]}},
    {"payload": {"fields": ["data.\\x"]}},
    {"subscriptions": [{"event_types": ["a"], "filter": "type ="}]},
    {"subscriptions": [{"event_types": ["a"], "filter": {"data": {"x": {"$foo": 1}}}}]},
    {"auth": {"kind": "oauth2", "token_url": "https://10.0.0.1/", "client_id": "i", "client_secret": "s"}},
    {"auth": {"kind": "oauth2", "token_url": "https://a.example/", "client_id": "i\r\n", "client_secret": "s"}},
    {"auth": {"kind": "mtls", "certificate": "c", "private_key": "k"}},
    {"auth": {"kind": "bearer", "token": "sealed:abc"}},
    {"headers": {"x-key": "sealed:abc"}},
    {"secrets": ["sealed:abc"]},
    {"secrets": ["whsk_" + base64.b64encode(b"k" * 31).decode()]},
    {"secrets": ["whsk_" + base64.b64encode(b"k" * 64).decode()]},
    {"secrets": ["secret"]},
    {"secrets": [""]},
    {"secrets": ["whsec_"]},
    {"secrets": ["whsec_***"]},
    {"secrets": ["whsec_" + base64.b64encode(b"short").decode()]},
    {"secrets": [FIRST, "whsec_é"]},
    {"headers": {"host": "b.example"}},
    {"headers": {"Content-Length": "1"}},
    {"headers": {"transfer-encoding": "chunked"}},
    {"headers": {"Webhook-Signature": "v1,x"}},
    {"headers": {"ce-id": "1"}},
    {"headers": {"x": "a\r\nx-admin: yes"}},
    {"headers": {"x\r\ny": "a"}},
    {"headers": {"": "a"}},
    {"headers": {f"x-{number}": "a" for number in range(65)}},
    {"auth": {"kind": "header", "name": "webhook-id", "value": "x"}},
    {"auth": {"kind": "header", "name": "x-key", "value": "a\nb"}},
    {"auth": {"kind": "bearer", "token": "a\r\nb"}},
    {"auth": {"kind": "basic", "username": "a:b", "password": "c"}},
    {"auth": {"kind": "basic", "username": "a", "password": "c\n"}},
    {"subscriptions": [{"event_types": ["a", "b..c"]}]},
    {"subscriptions": [{"event_types": ["**.a"]}]},
    {"subscriptions": [{"event_types": []}]},
    {"retry": {"schedule": ["5s", "later"]}},
    {"retry": {"schedule": ["31d"]}},
    {"retry": {"jitter": 1.5}},
    {"timeout_ms": 0},
    {"rate_per_s": 0},
    {"max_in_flight": 0},
    {"url": ""},
    {"url": "http://a.example/"},
    {"url": "https://127.0.0.1/"},
    {"url": "https://a.example/\r\nx: y"},
    {"verification": "trust me"},
    {"payload": {"format": "xml"}},
]


@pytest.mark.parametrize("fields", REFUSED, ids=lambda fields: next(iter(fields)))
def test_what_cannot_be_served_is_refused_without_telling_a_secret(fields: dict[str, Any]) -> None:
    for after in (
        put(None, "endpoint.registered", **{**BASE, **fields}),
        put(registered(), "endpoint.changed", **fields),
    ):
        assert isinstance(after, Refused)
        assert after.reason
        assert FIRST not in after.reason


def test_secrets_have_to_be_given_and_may_be_none_at_all() -> None:
    without = {name: value for name, value in BASE.items() if name != "secrets"}
    assert isinstance(put(None, "endpoint.registered", **without), Refused)
    assert settings_of(registered(secrets=[])).secrets == ()


def test_this_installation_may_allow_http_and_a_private_network() -> None:
    limits = Limits(allow_http=True, allowed=(ipaddress.ip_network("10.0.0.0/8"),))
    for url in ("http://10.1.2.3/", "http://a.example/", "https://a.example/"):
        assert settings_of(put(None, "endpoint.registered", limits=limits, **{**BASE, "url": url})).url == url
    assert isinstance(put(None, "endpoint.registered", limits=limits, **{**BASE, "url": "http://127.0.0.1/"}), Refused)


def test_an_endpoint_that_does_not_say_is_verified_as_this_installation_does() -> None:
    assert settings_of(registered()).verification == "challenge"
    okta = put(None, "endpoint.registered", limits=Limits(default_verification="okta"), **BASE)
    assert settings_of(okta).verification == "okta"


def test_old_secrets_sign_until_their_own_overlap_ends_and_not_a_millisecond_longer() -> None:
    record = put(registered(), "secret.rotated", 1_000, secret=SECOND, overlap_ms=5_000)
    assert isinstance(record, EndpointRecord)
    twice = settings_of(put(record, "secret.rotated", 2_000, secret=THIRD, overlap_ms=1_000))
    assert request.secrets_at(twice, 2_000) == [THIRD, SECOND, FIRST]
    assert request.secrets_at(twice, 2_999) == [THIRD, SECOND, FIRST]
    assert request.secrets_at(twice, 3_000) == [THIRD, FIRST]
    assert request.secrets_at(twice, 6_000) == [THIRD]


def test_the_overlap_is_a_day_unless_told() -> None:
    rotated = settings_of(put(registered(), "secret.rotated", 1_000, secret=SECOND))
    assert [secret.until_ms for secret in rotated.expiring_secrets] == [1_000 + 24 * 3_600_000]


def test_a_bad_new_secret_is_refused_and_the_old_one_stays() -> None:
    assert isinstance(put(registered(), "secret.rotated", secret="whsec_x"), Refused)
    assert isinstance(put(registered(), "secret.rotated", secret=SECOND, overlap_ms=-1), Refused)


def test_what_a_change_does_not_name_stays() -> None:
    record = registered(headers={"x-a": "1"}, timeout_ms=500, description="old")
    changed = settings_of(put(record, "endpoint.changed", description="new"))
    assert (changed.headers, changed.timeout_ms, changed.description, changed.secrets) == (
        {"x-a": "1"},
        500,
        "new",
        (FIRST,),
    )


def test_registering_again_replaces_every_setting() -> None:
    record = registered(headers={"x-a": "1"}, timeout_ms=500)
    assert settings_of(put(record, "endpoint.registered", **BASE)) == settings_of(registered())
