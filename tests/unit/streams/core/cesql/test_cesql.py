"""CESQL by its specification: values, errors, and where an error is."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.cesql import BadExpression, Failed, compile_filter
from streams.core.cesql.values import Value

WORDS = [
    "AND", "OR", "NOT", "LIKE", "IN", "EXISTS", "(", ")", ",", "=", "<", "+", "-", "/", "'a%'", "1", "0", "type",
    "nothing", "sequence", "LENGTH(", "LEFT(", "TRUE",
]  # fmt: skip
EVENT: dict[str, Value] = {
    "id": "e-1",
    "source": "https://shop.example/eu",
    "type": "order.paid",
    "subject": "order/17",
    "sequence": "10",
    "hop": "3",
    "ttl": "7",
    "urgent": "TRUE",
    "firstname": "Ada",
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("EXISTS subject", True),
        ("exists nothing", False),
        ("EXISTS SUBJECT", True),
        ("firstname = 'Ada'", True),
        ("firstname != 'Ada' OR subject = 'order/17'", True),
        ("firstname <> 'Ada'", False),
        ("sequence = 10", True),
        ("sequence + 10 = 20", True),
        ("hop < ttl", True),
        ("hop >= ttl", False),
        ("urgent = TRUE", True),
        ("urgent AND true", True),
        ("NOT urgent", False),
        ("NOT NOT urgent", True),
        ("TRUE XOR TRUE", False),
        ("source LIKE 'https://%'", True),
        ("source NOT LIKE '%.example/__'", False),
        ("subject LIKE 'order_17'", True),
        (r"'50%' LIKE '50\%'", True),
        (r"'505' LIKE '50\%'", False),
        (r"'a\b' LIKE 'a\b'", True),
        ("type IN ('order.made', 'order.paid')", True),
        ("type NOT IN ('order.paid')", False),
        ("sequence IN (9, 10)", True),
        ("4 * 2 + 4 / 2", 10),
        ("4 * (2 + 4) / 2", 12),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("- 3 + +4", 1),
        ("--3", 3),
        ("2147483647", 2147483647),
        ("-2147483648", -2147483648),
        (r"'it\'s'", "it's"),
        ('"say \\"x\\""', 'say "x"'),
        ("LENGTH('añb')", 3),
        ("CONCAT('a', 1, TRUE)", "a1true"),
        ("CONCAT()", ""),
        ("concat_ws('-', 'a', 'b')", "a-b"),
        ("UPPER(firstname)", "ADA"),
        ("LOWER('ABC')", "abc"),
        ("TRIM('  a b\t')", "a b"),
        ("LEFT('abc', 2)", "ab"),
        ("LEFT('abc', 9)", "abc"),
        ("RIGHT('abc', 2)", "bc"),
        ("RIGHT('abc', 0)", ""),
        ("SUBSTRING('Hello', 2)", "ello"),
        ("SUBSTRING('Hello', -2)", "lo"),
        ("SUBSTRING('Hello', 0)", ""),
        ("SUBSTRING('Hello', 2, 3)", "ell"),
        ("SUBSTRING('Hello', 4, 99)", "lo"),
        ("ABS(-4)", 4),
        ("INT('-12')", -12),
        ("BOOL(0)", False),
        ("STRING(TRUE)", "true"),
        # Brackets are not needed for what SQL has taught everybody.
        ("FALSE AND FALSE OR TRUE", True),
        ("TRUE OR TRUE AND FALSE", True),
        # What decides is not looked behind.
        ("TRUE OR nothing = 1", True),
        ("FALSE AND 1 / 0 = 1", False),
    ],
)
def test_an_expression_has_its_value(expression: str, value: Value) -> None:
    found = compile_filter(expression).evaluate(EVENT)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "expression",
    [
        "nothing = ''",
        "NOT (nothing = 1)",
        "firstname = 10",
        "firstname < 3",
        "NOT 10",
        "1 AND TRUE",
        "'maybe' OR TRUE",
        "1 / 0",
        "1 % 0",
        "2147483647 + 1",
        "-(-2147483648)",
        "-2147483648 / -1",
        "ABS(-2147483648)",
        "INT('2147483648')",
        "LEFT('abc', -1)",
        "RIGHT('abc', -1)",
        "SUBSTRING('abc', 4)",
        "SUBSTRING('abc', -4)",
        "SUBSTRING('abc', 1, -1)",
        "sequence IN (1, 'x')",
    ],
)
def test_an_error_while_it_is_evaluated_is_no_match(expression: str) -> None:
    with pytest.raises(Failed):
        compile_filter(expression).matches({**EVENT, "sequence": 7})


@pytest.mark.parametrize(
    ("expression", "position"),
    [
        ("", 1),
        ("type = ", 8),
        ("type = 'a", 8),
        ("type == 'a'", 7),
        ("type = 'a' AND", 15),
        ("(type = 'a'", 12),
        ("type = 'a')", 11),
        ("type LIKE subject", 11),
        ("type IN ()", 10),
        ("type IN 'a'", 9),
        ("EXISTS 'a'", 8),
        ("EXISTS my_attribute", 8),
        ("NOSUCH(1)", 1),
        ("TRUE AND LENGTH()", 10),
        ("LENGTH('a', 'b')", 1),
        ("2147483648", 1),
        ("type ; 'a'", 6),
        ("+ type", 3),
        ("a b", 3),
        ("(" * 200 + "1" + ")" * 200, 41),
        ("NOT " * 200 + "TRUE", 165),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(expression: str, position: int) -> None:
    with pytest.raises(BadExpression) as refused:
        compile_filter(expression)
    assert refused.value.position == position
    assert str(refused.value).endswith(f"at character {position}")


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)))
def test_any_text_is_an_expression_with_a_value_or_an_error_or_none_with_a_place(text: str) -> None:
    ends = (BadExpression, Failed)
    with contextlib.suppress(*ends):
        assert isinstance(compile_filter(text).evaluate(EVENT), str | int)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1).filter(bool))
def test_a_quotient_and_its_remainder_give_the_dividend(dividend: int, divisor: int) -> None:
    event: dict[str, Value] = {"a": dividend, "b": divisor}
    if (dividend, divisor) == (-(2**31), -1):
        return
    quotient, remainder = compile_filter("a / b").evaluate(event), compile_filter("a % b").evaluate(event)
    assert int(quotient) * divisor + int(remainder) == dividend
    assert remainder == 0 or (int(remainder) < 0) is (dividend < 0)


@pytest.mark.parametrize("pattern", ["%" * 500 + "z", "%a" * 40 + "z", "%a_" * 40 + "z"])
def test_a_pattern_of_many_wildcards_takes_no_long_time(pattern: str) -> None:
    assert compile_filter(f"type LIKE '{pattern}'").evaluate({"type": "a" * 5_000}) is False


@given(st.text("ab%_", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_matches_what_a_plain_search_of_all_splits_finds(pattern: str, text: str) -> None:
    def matches(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "%":
            return any(matches(pattern[1:], text[skipped:]) for skipped in range(len(text) + 1))
        return bool(text) and pattern[0] in ("_", text[0]) and matches(pattern[1:], text[1:])

    assert compile_filter(f"x LIKE '{pattern}'").evaluate({"x": text}) is matches(pattern, text)
