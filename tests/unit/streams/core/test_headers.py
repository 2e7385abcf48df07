"""Which headers an endpoint may ask for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import headers

OWN = (
    "content-type user-agent webhook-id webhook-timestamp webhook-signature webhook-attempt webhook-replay traceparent"
)
FRAMING = "host content-length transfer-encoding connection keep-alive te trailer upgrade expect proxy-authorization"


@pytest.mark.parametrize(
    "name", [*OWN.split(), *FRAMING.split(), "ce-id", "ce-anything", "webhook-x", "sec-fetch-mode"]
)
def test_a_header_of_our_own_or_of_framing_is_refused_however_it_is_spelt(name: str) -> None:
    for spelt in (name, name.upper(), name.title()):
        assert headers.refuse_header(spelt, "x") is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-api-key", "abc"),
        ("Authorization", "Bearer x"),
        ("cookie", "a=b; c=d"),
        ("x", ""),
        ("x-tab", "a\tb"),
        ("x-latin", "ÿ"),
        ("x!#$%&'*+.^_`|~9", "x"),
        ("my-webhook-id", "x"),
        ("x" * 128, "y" * 4_096),
    ],
)
def test_an_ordinary_header_is_taken(name: str, value: str) -> None:
    assert headers.refuse_header(name, value) is None


@pytest.mark.parametrize("name", ["", "x y", "x:", "x\r\ny", "x\n", "é", "x" * 129, "(x)", "x\0", ":path", "x/y"])
def test_what_is_no_token_is_no_header(name: str) -> None:
    reason = headers.refuse_header(name, "x")
    assert reason is not None
    assert "\n" not in reason


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "\0", "a\x7f", "a\x1b[0m", "€", "x" * 4_097])
def test_a_value_that_breaks_its_line_is_refused_without_being_repeated(value: str) -> None:
    reason = headers.refuse_header("x-a", value)
    assert reason is not None
    assert value not in reason


@settings(max_examples=100)
@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_taken_stays_one_line_of_the_request(name: str, value: str) -> None:
    if headers.refuse_header(name, value) is None:
        assert not set("\r\n\0") & set(name + value)
        assert f"{name}: {value}".encode("latin-1")
        assert name.isascii()
        assert ":" not in name
