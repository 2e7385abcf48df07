"""An endpoint as it is shown: nothing that is secret, and nothing that was sealed."""

from schemas.api import AuthShown, EndpointShown, ReplayShown
from schemas.endpoints import EndpointRecord, EndpointSettings
from streams.core import keys
from streams.core.sealing import CannotOpen, Keyring


def shown(record: EndpointRecord, ring: Keyring) -> EndpointShown:
    """What may be read of an endpoint that is not gone. `ring` opens keys whose public half is shown."""
    version = record.current
    settings = version.settings
    assert settings is not None
    given = settings.model_dump(exclude={"secrets", "expiring_secrets", "headers", "auth"})
    auth = settings.auth.model_dump(include={"kind", "name", "username"}) if settings.auth is not None else None
    return EndpointShown.model_validate(
        {
            **given,
            "tenant": record.tenant,
            "endpoint_id": record.endpoint_id,
            "version": record.version,
            "state": version.state,
            "reason": version.reason,
            "since_ms": version.since_ms,
            "verified": version.verified,
            "verifying": version.verifying is not None,
            "new_url": version.new_url,
            "failing_since_ms": version.failing_since_ms,
            "allowed_rate_per_min": version.allowed_rate_per_min,
            "header_names": tuple(settings.headers or ()),
            "auth": AuthShown.model_validate(auth) if auth is not None else None,
            "public_keys": _public_keys(record, settings, ring),
            "replays": tuple(ReplayShown.model_validate(one.model_dump()) for one in record.catch_ups),
        }
    )


def _public_keys(record: EndpointRecord, settings: EndpointSettings, ring: Keyring) -> tuple[str, ...]:
    found = []
    for secret in (*settings.secrets, *(older.secret for older in settings.expiring_secrets)):
        try:
            key = keys.public_key(ring.unseal(secret, record.tenant, record.endpoint_id))
        except (CannotOpen, ValueError):  # whoever lacks the key can still show the rest
            continue
        if key is not None:
            found.append(key)
    return tuple(found)
