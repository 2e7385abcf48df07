"""Tokens: whose they are, what they allow, and when they are none."""

import jwt
import pytest

from handlers.gateway import tokens
from handlers.gateway.tokens import BadToken, Scope

FIRST, SECOND = "first secret of more than thirty-two bytes", "second secret of more than thirty-two bytes"


def made(*scopes: str, tenant: str | None = "t", secret: str = FIRST, now_s: int = 1_000) -> str:
    return tokens.make(secret, tenant, scopes, now_s=now_s, expires_s=60)


def read(token: str, *secrets: str, now_s: float = 1_000) -> tokens.Bearer:
    return tokens.read(token, secrets or (FIRST,), now_s=now_s)


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {"read"}),
        ("write", {"read", "write"}),
        ("publish", {"publish"}),
        ("admin", {"read", "write", "publish", "admin"}),
    ],
)
def test_a_scope_allows_what_it_says(scope: Scope, allowed: set[str]) -> None:
    bearer = read(made(scope))
    assert {one for one in tokens.SCOPES if bearer.may(one)} == allowed
    assert bearer.reaches("t")
    assert bearer.reaches("u") is (scope == "admin")


def test_several_scopes_add_up() -> None:
    bearer = read(made("read", "publish"))
    assert (bearer.may("read"), bearer.may("publish"), bearer.may("write")) == (True, True, False)


def test_an_admin_needs_no_tenant() -> None:
    assert read(made("admin", tenant=None)).reaches("anybody")


def test_it_is_valid_until_it_expires() -> None:
    token = made("read")
    assert read(token, now_s=1_059.9).tenant == "t"
    with pytest.raises(BadToken, match="expired"):
        read(token, now_s=1_060)


def test_an_older_secret_verifies_as_long_as_it_is_in_the_list() -> None:
    token = made("read", secret=SECOND)
    assert read(token, FIRST, SECOND).tenant == "t"
    with pytest.raises(BadToken, match="not one of ours"):
        read(token, FIRST)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x.y.z",
        made("read")[:-2],
        jwt.encode({"tenant": "t", "scope": "admin"}, "", algorithm="none"),
        jwt.encode({"tenant": "t", "scope": "read"}, FIRST * 2, algorithm="HS512"),
        jwt.encode({"scope": "write"}, FIRST, algorithm="HS256"),
        jwt.encode({"tenant": 7, "scope": "write"}, FIRST, algorithm="HS256"),
        jwt.encode({"tenant": "a/b", "scope": "write"}, FIRST, algorithm="HS256"),
        jwt.encode({"tenant": "t", "scope": "read", "exp": "never"}, FIRST, algorithm="HS256"),
        jwt.encode({"tenant": "t", "scope": "read", "exp": True}, FIRST, algorithm="HS256"),
        jwt.encode({"tenant": "t", "scope": "read", "nbf": 2_000}, FIRST, algorithm="HS256"),
    ],
)
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(BadToken) as caught:
        read(token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("scope", ["", "owner", ["read"], None, "READ"])
def test_an_unknown_scope_allows_nothing(scope: object) -> None:
    bearer = read(jwt.encode({"tenant": "t", "scope": scope}, FIRST, algorithm="HS256"))
    assert not any(bearer.may(one) for one in tokens.SCOPES)
