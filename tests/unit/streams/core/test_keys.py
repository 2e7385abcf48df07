"""Keys as text, against the library of the specification and RFC 8032."""

import base64

import pytest

from streams.core import keys

#: RFC 8032, 7.1, test 1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def text(prefix: str, raw: bytes) -> str:
    return prefix + base64.b64encode(raw).decode()


@pytest.mark.parametrize("raw", [SEED, SEED + PUBLIC])
def test_a_public_key_is_told(raw: bytes) -> None:
    assert keys.refuse(text("whsk_", raw)) is None
    assert keys.public_key(text("whsk_", raw)) == text("whpk_", PUBLIC)
    assert keys.private_key(text("whsk_", raw)).sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a")


def test_a_shared_secret_has_no_public_key() -> None:
    assert keys.public_key(text("whsec_", SEED)) is None


@pytest.mark.parametrize(
    "secret",
    [
        "", "secret", "whsec_", "whsec_***", "whsk_", "whsk_***", text("whsec_", b"short"), text("whsec_", b"l" * 129),
        text("whsk_", SEED[:31]), text("whsk_", SEED + SEED), text("whpk_", PUBLIC),
    ],
)  # fmt: skip
def test_what_signs_nothing_is_refused_and_not_repeated(secret: str) -> None:
    refused = keys.refuse(secret)
    assert refused is not None
    assert len(secret) < 8 or secret not in refused
