"""Secrets at rest: what is sealed opens with its key for its endpoint, and for nobody else."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.changes import EndpointRegistered
from schemas.ring import parse_keys
from schemas.settings import RouterSettings, load
from streams.core import sealing
from streams.core.sealing import CannotOpen, Keyring

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
RING = Keyring({"new": NEW, "old": OLD})
SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()


@given(st.text(max_size=200).filter(lambda text: not text.startswith("sealed:")))
def test_what_is_sealed_opens_again_and_shows_nothing(text: str) -> None:
    sealed = RING.seal(text, "t", "e")
    assert sealed.startswith("sealed:e.new.")
    assert len(text) < 4 or text not in sealed
    assert RING.unseal(sealed, "t", "e") == text
    assert RING.seal(sealed, "t", "e") == sealed


def test_the_same_text_is_sealed_to_the_same_bytes_and_to_others_elsewhere() -> None:
    assert RING.seal(SECRET, "t", "e") == RING.seal(SECRET, "t", "e")
    assert len({RING.seal(SECRET, *where) for where in (("t", "e"), ("t", "f"), ("u", "e"))}) == 3


def test_an_older_key_opens_and_the_first_one_seals() -> None:
    sealed = Keyring({"old": OLD}).seal(SECRET, "t", "e")
    assert RING.unseal(sealed, "t", "e") == SECRET
    assert ".new." in RING.seal(SECRET, "t", "e")


@pytest.mark.parametrize("where", [("t", "f"), ("u", "e"), ("t/e", "")])
def test_it_opens_for_its_endpoint_alone(where: tuple[str, str]) -> None:
    with pytest.raises(CannotOpen, match="another endpoint"):
        RING.unseal(RING.seal(SECRET, "t", "e"), *where)


def test_a_text_sealed_for_any_opens_anywhere() -> None:
    assert RING.unseal(RING.seal_for_any(SECRET), "u", "f") == SECRET
    bound_only = Keyring({"new": NEW}, bound_only=True)
    assert bound_only.unseal(RING.seal(SECRET, "u", "f"), "u", "f") == SECRET
    with pytest.raises(CannotOpen, match="through Kafka only"):
        bound_only.unseal(RING.seal_for_any(SECRET), "u", "f")


@pytest.mark.parametrize(
    "text", ["sealed:", "sealed:e.new", "sealed:e.new.***", "sealed:x.new.AAAA", "sealed:e.new.AAAA"]
)
def test_what_nobody_sealed_does_not_open(text: str) -> None:
    with pytest.raises(CannotOpen) as caught:
        RING.unseal(text, "t", "e")
    assert "AAAA" not in str(caught.value)


def test_a_changed_byte_does_not_open() -> None:
    sealed = RING.seal(SECRET, "t", "e")
    for place in range(len("sealed:e.new."), len(sealed)):
        other = "A" if sealed[place] != "A" else "B"
        changed = sealed[:place] + other + sealed[place + 1 :]
        if base64.urlsafe_b64decode(changed[13:] + "==") != base64.urlsafe_b64decode(sealed[13:] + "=="):
            with pytest.raises(CannotOpen):
                RING.unseal(changed, "t", "e")


def test_an_empty_ring_seals_nothing_and_names_the_key_it_lacks() -> None:
    empty = Keyring({})
    assert not empty
    assert empty.seal(SECRET, "t", "e") == SECRET
    with pytest.raises(CannotOpen, match="the key new, which is not in HOOKFOLD_SEAL_KEYS"):
        empty.unseal(RING.seal(SECRET, "t", "e"), "t", "e")


@pytest.mark.parametrize(
    "auth",
    [
        {"kind": "header", "name": "x-key", "value": "geheim-1"},
        {"kind": "bearer", "token": "geheim-1"},
        {"kind": "basic", "username": "ada", "password": "geheim-1"},
    ],
)
def test_every_secret_of_a_change_is_sealed(auth: dict[str, Any]) -> None:
    change = EndpointRegistered.model_validate_json(
        json.dumps(
            {
                "type": "endpoint.registered",
                "endpoint_id": "e",
                "url": "https://a.example/",
                "subscriptions": [],
                "secrets": [SECRET],
                "headers": {"x-a": "geheim-2"},
                "auth": auth,
            }
        )
    )
    sealed = sealing.seal_secrets(change, RING, "t", "e")
    text = sealed.model_dump_json()
    assert not any(secret in text for secret in (SECRET, "geheim-1", "geheim-2"))
    assert sealing.open_secrets(sealed, RING, "t", "e") == change
    assert sealing.open_secrets(change, RING, "t", "e") is change
    assert not any(secret in repr(change) for secret in (SECRET, "geheim-1", "geheim-2"))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("abc", "key 1 is not <id>"),
        ("a:", "key 1 is not <id>"),
        ("a b:AAAA", "key 1 is not <id>"),
        ("a:***", "key 1 is not base64"),
        ("a:c2hvcnQ=", "key 1 has 5 bytes, not 32"),
        (f"a:{base64.b64encode(OLD).decode()},a:{base64.b64encode(NEW).decode()}", "two keys are called a"),
    ],
)
def test_a_bad_ring_is_refused_with_a_line_that_tells_no_key(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parse_keys(text)
    refused = load(RouterSettings, seal_keys=text)
    assert isinstance(refused, str)
    assert wrong in refused
    assert "c2hvcnQ" not in refused


def test_settings_do_not_show_their_keys() -> None:
    settings = load(RouterSettings, seal_keys=f"a:{base64.b64encode(OLD).decode()}")
    assert isinstance(settings, RouterSettings)
    assert settings.keys == {"a": OLD}
    assert base64.b64encode(OLD).decode() not in repr(settings) + str(settings.model_dump())
