"""Secrets at rest: AES-256-GCM under a ring of keys, each text bound to its tenant and its endpoint or source.

The nonce is derived from the text and what it is bound to, as in a synthetic IV, so that the same change folded twice
gives the same bytes: state that is rebuilt from the log is the state that was.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.changes import (
    Auth,
    BasicAuth,
    BearerAuth,
    EndpointChanged,
    EndpointRegistered,
    HeaderAuth,
    MtlsAuth,
    OAuth2Auth,
    SecretRotated,
)
from schemas.endpoints import EndpointSettings, ExpiringSecret
from schemas.model import Record
from schemas.sources import SourceRegistered

PREFIX = "sealed:"
_NONCE_BYTES = 12
#: `sealed:<e, or a for any>.<key id>.<base64url of nonce and ciphertext>`.
_SEALED = re.compile(r"^sealed:([ea])\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)$")

_Carrier = TypeVar("_Carrier", bound=Record)


class CannotOpen(ValueError):
    """A sealed text that this ring does not open, in one line that tells nothing of it."""


class KeyMissing(CannotOpen):
    """It was sealed with a key that this ring does not have."""


class Keyring:
    """The keys, by id. The first one seals, all open. An empty ring seals nothing and opens nothing.

    `bound_only`: what was sealed for any endpoint is not opened. Whoever may produce to Kafka may write for every
    tenant; whoever calls the API may not, and could have another's secret opened and sent to themselves.
    """

    def __init__(self, keys: Mapping[str, bytes], *, bound_only: bool = False) -> None:
        self._bound_only = bound_only
        self._keys = {name: (AESGCM(key), hmac.digest(key, b"hookfold nonce", "sha256")) for name, key in keys.items()}
        self._first = next(iter(self._keys), None)

    def __bool__(self) -> bool:
        return self._first is not None

    def seal(self, text: str, tenant: str, endpoint_id: str) -> str:
        """The text, sealed for this endpoint alone; as it is where the ring is empty."""
        return self._seal(text, "e", _bound(tenant, endpoint_id))

    def seal_for_any(self, text: str) -> str:
        """The text, sealed for whichever endpoint it is given to."""
        return self._seal(text, "a", b"")

    def unseal(self, text: str, tenant: str, endpoint_id: str) -> str:
        """What was sealed; a text that is not sealed is returned as it is. Raises `CannotOpen`."""
        if not text.startswith(PREFIX):
            return text
        found = _SEALED.fullmatch(text)
        if found is None:
            raise CannotOpen("a sealed value is not what `hookfold seal` makes")
        scope, key_id, sealed = found.groups()
        if self._bound_only and scope != "e":
            raise CannotOpen("a value that is sealed for any endpoint is taken through Kafka only")
        key = self._keys.get(key_id)
        if key is None:
            raise KeyMissing(f"a value is sealed with the key {key_id}, which is not in HOOKFOLD_SEAL_KEYS")
        bound = _bound(tenant, endpoint_id) if scope == "e" else b""
        try:
            raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            return key[0].decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound).decode()
        except (InvalidTag, ValueError, binascii.Error) as problem:
            raise CannotOpen("a sealed value was sealed for another endpoint, or has been changed") from problem

    def seal_bytes(self, raw: bytes, bound: bytes) -> tuple[str, bytes]:
        """The id of the key that seals, and the bytes sealed. Raises `KeyMissing` where the ring is empty."""
        if self._first is None:
            raise KeyMissing("HOOKFOLD_SEAL_KEYS is not set")
        cipher, nonce_key = self._keys[self._first]
        nonce = hmac.digest(nonce_key, bound + b"\0" + raw, "sha256")[:_NONCE_BYTES]
        return self._first, nonce + cipher.encrypt(nonce, raw, bound)

    def open_bytes(self, key_id: str, sealed: bytes, bound: bytes) -> bytes:
        """What was sealed by `seal_bytes`. Raises `CannotOpen`."""
        key = self._keys.get(key_id)
        if key is None:
            raise KeyMissing(f"a data key is sealed with the key {key_id}, which is not in HOOKFOLD_SEAL_KEYS")
        try:
            return key[0].decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError) as problem:
            raise CannotOpen("a sealed value was sealed for something else, or has been changed") from problem

    def _seal(self, text: str, scope: str, bound: bytes) -> str:
        if self._first is None or text.startswith(PREFIX):
            return text
        key_id, raw = self.seal_bytes(text.encode(), bound)
        return f"{PREFIX}{scope}.{key_id}.{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def name_of_source(source_id: str) -> str:
    """What a source's secrets are bound to in an endpoint's place: no endpoint's id has a slash."""
    return f"in/{source_id}"


def open_secrets(carrier: _Carrier, ring: Keyring, tenant: str, endpoint_id: str) -> _Carrier:
    """A change or settings with everything that was sealed in them opened. Raises `CannotOpen`."""
    # Each attempt comes this way, and most find nothing to be opened.
    if isinstance(carrier, EndpointSettings) and not _may_be_sealed(carrier):
        return carrier
    return _mapped(carrier, lambda text: ring.unseal(text, tenant, endpoint_id))


def seal_secrets(carrier: _Carrier, ring: Keyring, tenant: str, endpoint_id: str) -> _Carrier:
    """A change or settings with everything secret in them sealed; as they are where the ring is empty."""
    return _mapped(carrier, lambda text: ring.seal(text, tenant, endpoint_id)) if ring else carrier


def _may_be_sealed(settings: EndpointSettings) -> bool:
    if settings.auth is not None or settings.headers or settings.expiring_secrets:
        return True
    return any(secret.startswith(PREFIX) for secret in settings.secrets)


def _mapped(carrier: _Carrier, each: Callable[[str], str]) -> _Carrier:
    """A copy with `each` applied to every secret text; the same object where that changes nothing."""
    update: dict[str, object] = {}
    if isinstance(carrier, SecretRotated):
        update["secret"] = each(carrier.secret)
    elif isinstance(carrier, SourceRegistered):
        update["secrets"] = tuple(map(each, carrier.secrets))
    elif isinstance(carrier, EndpointRegistered | EndpointChanged | EndpointSettings):
        if carrier.secrets is not None:
            update["secrets"] = tuple(map(each, carrier.secrets))
        if carrier.headers is not None:
            update["headers"] = {name: each(value) for name, value in carrier.headers.items()}
        if carrier.auth is not None:
            update["auth"] = _auth(carrier.auth, each)
        if isinstance(carrier, EndpointSettings):
            update["expiring_secrets"] = tuple(
                ExpiringSecret(secret=each(older.secret), until_ms=older.until_ms) for older in carrier.expiring_secrets
            )
    if all(getattr(carrier, name) == value for name, value in update.items()):
        return carrier
    return carrier.model_copy(update=update)


def _auth(auth: Auth, each: Callable[[str], str]) -> object:
    match auth:
        case HeaderAuth():
            return auth.model_copy(update={"value": each(auth.value)})
        case BearerAuth():
            return auth.model_copy(update={"token": each(auth.token)})
        case BasicAuth():
            return auth.model_copy(update={"password": each(auth.password)})
        case OAuth2Auth():
            return auth.model_copy(update={"client_secret": each(auth.client_secret)})
        case MtlsAuth():
            return auth.model_copy(update={"private_key": each(auth.private_key)})


def _bound(tenant: str, endpoint_id: str) -> bytes:
    return f"{tenant}/{endpoint_id}".encode()
