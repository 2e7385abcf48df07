"""CESQL's built-in functions, see section 3.5 of the specification. Names are without regard to case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streams.core.cesql.values import LEAST, Failed, Type, boolean, integer, string

#: What section 3.5.1 calls whitespace.
_SPACE = " \t\n\r\f\v"


@dataclass(frozen=True, slots=True)
class Function:
    """One definition: the types of its arguments; `rest`: of any number of further ones."""

    parameters: Sequence[Type]
    call: Callable[..., Any]
    rest: Type | None = None


def _left(text: str, count: int) -> str:
    if count < 0:
        raise Failed("LEFT: a negative count")
    return text[:count]


def _right(text: str, count: int) -> str:
    if count < 0:
        raise Failed("RIGHT: a negative count")
    return text[max(0, len(text) - count) :]


def _substring(text: str, start: int, count: int | None = None) -> str:
    if abs(start) > len(text) or (count is not None and count < 0):
        raise Failed("SUBSTRING: beyond the string")
    if start == 0:
        return ""
    begin = start - 1 if start > 0 else len(text) + start
    return text[begin:] if count is None else text[begin : begin + count]


def _abs(number: int) -> int:
    if number == LEAST:
        raise Failed("ABS: beyond 32 bits")
    return abs(number)


#: By name, one definition for each number of arguments.
FUNCTIONS: dict[str, Sequence[Function]] = {
    "LENGTH": [Function(["string"], len)],
    "CONCAT": [Function([], lambda *texts: "".join(texts), "string")],
    "CONCAT_WS": [Function(["string"], lambda between, *texts: between.join(texts), "string")],
    "LOWER": [Function(["string"], str.lower)],
    "UPPER": [Function(["string"], str.upper)],
    "TRIM": [Function(["string"], lambda text: text.strip(_SPACE))],
    "LEFT": [Function(["string", "integer"], _left)],
    "RIGHT": [Function(["string", "integer"], _right)],
    "SUBSTRING": [
        Function(["string", "integer"], _substring),
        Function(["string", "integer", "integer"], _substring),
    ],
    "ABS": [Function(["integer"], _abs)],
    "INT": [Function(["integer"], integer)],
    "BOOL": [Function(["boolean"], boolean)],
    "STRING": [Function(["string"], string)],
}


def find(name: str, count: int) -> Function | None:
    """The function of that name that takes so many arguments, or None."""
    for function in FUNCTIONS.get(name.upper(), ()):
        needed = len(function.parameters)
        if count == needed or (function.rest is not None and count > needed):
            return function
    return None
