"""CESQL's three types and the casts between them, see sections 3.1 and 3.7 of the specification."""

import re
from collections.abc import Callable
from typing import Literal

Value = str | int | bool
Type = Literal["string", "integer", "boolean"]

LEAST, MOST = -(2**31), 2**31 - 1
_INTEGER = re.compile(r"[+-]?\d{1,10}")


class Failed(Exception):
    """An error while an expression is evaluated: the event does not match, whatever the value would be."""


def type_of(value: Value) -> Type:
    """The type of a value. A Python bool is an int, and must be asked for first."""
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "string"


def integer(value: Value) -> int:
    """The value as an integer. Raises `Failed`."""
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise Failed(f"{value!r} is not an integer")
        return bounded(int(value))
    return int(value)


def boolean(value: Value) -> bool:
    """The value as a boolean. Raises `Failed`."""
    if isinstance(value, str):
        lowered = value.lower()
        if lowered not in ("true", "false"):
            raise Failed(f"{value!r} is neither true nor false")
        return lowered == "true"
    return bool(value)


def truth(value: Value) -> bool:
    """An operand of NOT, AND, OR or XOR: no integer is one. Raises `Failed`."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise Failed(f"{value} is neither true nor false")
    return boolean(value)


def string(value: Value) -> str:
    """The value as a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


CASTS: dict[Type, Callable[[Value], Value]] = {"string": string, "integer": integer, "boolean": boolean}


def bounded(value: int) -> int:
    """An integer of 32 bits. Raises `Failed` on one that is larger."""
    if not LEAST <= value <= MOST:
        raise Failed(f"{value} is beyond 32 bits")
    return value
