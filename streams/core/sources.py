"""What a source may be registered with, and how its secrets are told from those of endpoints."""

from __future__ import annotations

import base64
import binascii
import re

from schemas.events import OWN_TYPES
from schemas.sources import Scheme, SourceFields, SourceRegistered, SourceUnregistered
from streams.core import headers, keys, sealing
from streams.core.sealing import CannotOpen, KeyMissing, Keyring

#: Schemes whose secret is ours to make; the others' are made by the third party.
MADE_BY_US: frozenset[Scheme] = frozenset({"standard", "hmac", "api_key", "bearer"})
#: What a setting is for.
_ONLY_FOR: dict[str, frozenset[Scheme]] = {
    "header": frozenset({"hmac", "api_key"}),
    "encoding": frozenset({"hmac"}),
    "algorithm": frozenset({"hmac"}),
}
#: Schemes whose secret stands in a header as it is.
_IN_A_HEADER: frozenset[Scheme] = frozenset({"okta", "api_key", "bearer"})
#: Headers that a request has anyway, or that others on the way write.
_TAKEN = frozenset({"content-type", "content-length", "host", "connection", "transfer-encoding", "content-encoding"})
_HEADER = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")
MAX_TYPE_BYTES = 256
MAX_DEPTH = 16
_PATH = re.compile(r"^\$(\.[^.\[\]\x00-\x1f\x7f]+)*$")


def refuse(change: SourceRegistered | SourceUnregistered, tenant: str, ring: Keyring) -> str | None:
    """Why the change cannot be taken, in one line that names no secret; None where it can.

    Whether a source that is unregistered was there is not asked: it is gone either way.
    """
    if isinstance(change, SourceUnregistered):
        return None
    try:
        return _refuse_opened(sealing.open_secrets(change, ring, tenant, sealing.name_of_source(change.source_id)))
    except CannotOpen as problem:
        return str(problem)


def kept(change: SourceRegistered, tenant: str, ring: Keyring) -> SourceRegistered | None:
    """The source as it is kept, its secrets sealed for it alone; None where it is refused.

    One whose key is missing is kept as it came: it counts again once the key is there.
    """
    name = sealing.name_of_source(change.source_id)
    try:
        opened = sealing.open_secrets(change, ring, tenant, name)
    except KeyMissing:
        return change
    except CannotOpen:
        return None
    return sealing.seal_secrets(opened, ring, tenant, name) if _refuse_opened(opened) is None else None


def is_path(text: str) -> bool:
    """True for `$`, and what begins with `$.`; else it is a name."""
    return text == "$" or text.startswith("$.")


def split(path: str) -> list[str]:
    """The names on the way from the body to what the path leads to."""
    return path.split(".")[1:]


def _refuse_opened(source: SourceRegistered) -> str | None:
    refusals = (
        *(_refuse_secret(source.scheme, secret) for secret in source.secrets),
        _refuse_settings(source),
        _refuse_header(source.header) if source.header is not None else None,
        _refuse_type(source.event_type) if source.event_type is not None else None,
        _refuse_path("items.path", source.items.path) if source.items is not None else None,
    )
    return next((refused for refused in refusals if refused is not None), None)


def _refuse_settings(change: SourceFields) -> str | None:
    for name, schemes in _ONLY_FOR.items():
        if getattr(change, name) is not None and change.scheme not in schemes:
            return f"{name}: is for {' and '.join(sorted(schemes))} only"
    return None


def _refuse_header(name: str) -> str | None:
    if not _HEADER.fullmatch(name):
        return "header: is not the name of one"
    return f"header: {name.lower()} is HTTP's own" if name.lower() in _TAKEN else None


def _refuse_type(event_type: str) -> str | None:
    if is_path(event_type):
        return _refuse_path("event_type", event_type)
    if event_type.startswith("$"):
        return "event_type: is neither a name nor a path such as $.type"
    if event_type.startswith(OWN_TYPES):
        return f"event_type: types that begin with {OWN_TYPES} are Hookfold's own"
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in event_type):
        return "event_type: has control characters"
    try:
        too_long = len(event_type.encode()) > MAX_TYPE_BYTES
    except UnicodeEncodeError:
        return "event_type: is not UTF-8"
    return f"event_type: is longer than {MAX_TYPE_BYTES} bytes" if too_long else None


def _refuse_path(name: str, path: str) -> str | None:
    if not _PATH.fullmatch(path):
        return f"{name}: is not a path such as $.data.events"
    return f"{name}: is deeper than {MAX_DEPTH}" if len(split(path)) > MAX_DEPTH else None


def _refuse_secret(scheme: Scheme, secret: str) -> str | None:
    """Why nothing can be verified by it."""
    if not secret:
        return "secrets: one of them is empty"
    if scheme == "standard":
        refused = _refuse_public(secret) if secret.startswith(keys.PUBLIC) else _refuse_shared(secret)
        return f"secrets: {refused}" if refused is not None else None
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in secret):
        return "secrets: one of them has control characters"
    if scheme == "basic":
        user, colon, password = secret.partition(":")
        return None if user and colon and password else "secrets: one of basic auth is user:password"
    if scheme in _IN_A_HEADER:
        # What HTTP would strip can never come.
        if secret != secret.strip():
            return "secrets: one of them begins or ends with a space"
        return f"secrets: {refused}" if (refused := headers.refuse_value("a secret", secret)) is not None else None
    return None


def _refuse_shared(secret: str) -> str | None:
    try:
        keys.mac_key(secret)
    except ValueError:
        return "one of standard is whsec_ and base64 of 16 to 128 bytes, or a whpk_ key"
    return None


def _refuse_public(secret: str) -> str | None:
    try:
        raw = base64.b64decode(secret.removeprefix(keys.PUBLIC), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    return None if len(raw) == keys.SEED_BYTES else "a whpk_ key is base64 of 32 bytes"
