"""Tokens: JWTs of a tenant and a scope. Making and reading them takes the time as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jwt

from schemas.model import is_identifier

Scope = Literal["read", "write", "publish", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ISSUER = "hookfold"
_ALGORITHM = "HS256"
#: What a scope allows besides itself.
_ALLOWS: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "publish": frozenset({"publish"}),
    "admin": frozenset(SCOPES),
}


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who calls. `tenant` None: every tenant, which only `admin` may."""

    tenant: str | None
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """True where any of its scopes allows it."""
        return any(scope in _ALLOWS[own] for own in SCOPES if own in self.scopes)

    def reaches(self, tenant: str) -> bool:
        """True for its own tenant, and for every one where it is an admin."""
        return "admin" in self.scopes or tenant == self.tenant


class BadToken(ValueError):
    """Not a token of ours, or not any more; one line that does not repeat it."""


def make(secret: str, tenant: str | None, scopes: Sequence[str], *, now_s: int, expires_s: int) -> str:
    """A token. `expires_s`: how long it is valid."""
    claims: dict[str, Any] = {"iss": ISSUER, "scope": " ".join(scopes), "iat": now_s, "exp": now_s + expires_s}
    if tenant is not None:
        claims["tenant"] = tenant
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def read(token: str, secrets: Sequence[str], *, now_s: float) -> Bearer:
    """Whose token it is. Raises `BadToken`."""
    if not token.isascii():
        raise BadToken("the token is not one of ours")
    for secret in secrets:
        try:
            claims = jwt.decode(
                token,
                secret,
                algorithms=[_ALGORITHM],
                # The time is ours to judge: it is given.
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
            )
        except jwt.InvalidTokenError:
            continue
        return _bearer(claims, now_s)
    raise BadToken("the token is not one of ours")


def _bearer(claims: dict[str, Any], now_s: float) -> Bearer:
    expires, begins = claims.get("exp"), claims.get("nbf")
    if any(isinstance(at, bool) or not isinstance(at, int | float | None) for at in (expires, begins)):
        raise BadToken("the token's times are none")
    if expires is not None and expires <= now_s:
        raise BadToken("the token has expired")
    if begins is not None and begins > now_s:
        raise BadToken("the token is not valid yet")
    tenant, scope = claims.get("tenant"), claims.get("scope")
    scopes = frozenset(scope.split()) if isinstance(scope, str) else frozenset()
    if tenant is not None and (not isinstance(tenant, str) or not is_identifier(tenant)):
        raise BadToken("the token's tenant is none")
    if tenant is None and "admin" not in scopes:
        raise BadToken("the token has no tenant")
    return Bearer(tenant, scopes)
