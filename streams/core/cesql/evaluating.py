"""CESQL's meaning, see section 3 of the specification: a tree to closures. The first error ends an evaluation."""

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from streams.core.cesql.functions import find
from streams.core.cesql.parsing import (
    Attribute,
    BadExpression,
    Binary,
    Call,
    Exists,
    In,
    Like,
    Literal,
    Node,
    Unary,
    parse,
)
from streams.core.cesql.values import CASTS, Failed, Value, boolean, bounded, integer, string, truth, type_of

Attributes = Mapping[str, Value]
Evaluate = Callable[[Attributes], Value]

_ORDER: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Filter:
    """A compiled expression."""

    def __init__(self, text: str) -> None:
        """Raises `BadExpression`."""
        self.evaluate = _compile(parse(text))

    def matches(self, attributes: Attributes) -> bool:
        """Whether the event matches. Raises `Failed` where that cannot be said, which is no."""
        return boolean(self.evaluate(attributes))


@lru_cache(maxsize=10_000)
def compile_filter(text: str) -> Filter:
    """The filter of an expression; equal ones are compiled once. Raises `BadExpression`."""
    return Filter(text)


def _compile(node: Node) -> Evaluate:
    match node:
        case Literal(value):
            return lambda _: value
        case Attribute(name):
            return lambda attributes: _attribute(attributes, name)
        case Exists(name):
            return lambda attributes: name in attributes
        case Unary(sign, operand):
            return _unary(sign, _compile(operand))
        case Binary(sign, left, right):
            return _binary(sign, _compile(left), _compile(right))
        case Like(operand, pattern):
            found, expression = _compile(operand), _expression(pattern)
            return lambda attributes: expression.fullmatch(string(found(attributes))) is not None
        case In(operand, members):
            wanted, among = _compile(operand), [_compile(member) for member in members]
            return lambda attributes: _is_in(wanted(attributes), among, attributes)
        case Call():
            return _call(node)


def _attribute(attributes: Attributes, name: str) -> Value:
    value = attributes.get(name)
    if value is None:
        raise Failed(f"the event has no {name}")
    return value


def _unary(sign: str, operand: Evaluate) -> Evaluate:
    if sign == "NOT":
        return lambda attributes: not truth(operand(attributes))
    return lambda attributes: bounded(-integer(operand(attributes)))


def _binary(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    if sign == "AND":
        return lambda attributes: truth(left(attributes)) and truth(right(attributes))
    if sign == "OR":
        return lambda attributes: truth(left(attributes)) or truth(right(attributes))
    if sign == "XOR":
        return lambda attributes: truth(left(attributes)) is not truth(right(attributes))
    if sign in ("=", "!="):
        return lambda attributes: _equal(left(attributes), right(attributes)) is (sign == "=")
    if (compare := _ORDER.get(sign)) is not None:
        return lambda attributes: compare(integer(left(attributes)), integer(right(attributes)))
    return lambda attributes: _calculate(sign, integer(left(attributes)), integer(right(attributes)))


def _equal(left: Value, right: Value) -> bool:
    """The right operand's type decides."""
    return CASTS[type_of(right)](left) == right


def _is_in(wanted: Value, among: list[Evaluate], attributes: Attributes) -> bool:
    """The left operand's type decides."""
    cast = CASTS[type_of(wanted)]
    return any(cast(member(attributes)) == wanted for member in among)


def _calculate(sign: str, left: int, right: int) -> int:
    match sign:
        case "+":
            return bounded(left + right)
        case "-":
            return bounded(left - right)
        case "*":
            return bounded(left * right)
    if right == 0:
        raise Failed("a division by zero")
    quotient = abs(left) // abs(right) * (1 if (left < 0) is (right < 0) else -1)
    return bounded(quotient) if sign == "/" else left - right * quotient


def _call(node: Call) -> Evaluate:
    function = find(node.name, len(node.arguments))
    if function is None:
        given = len(node.arguments)
        raise BadExpression(f"there is no function {node.name} of {given} argument{'s' * (given != 1)}", node.position)
    types = [*function.parameters, *[function.rest or "string"] * (len(node.arguments) - len(function.parameters))]
    arguments = [(CASTS[kind], _compile(argument)) for kind, argument in zip(types, node.arguments, strict=True)]
    call = function.call

    def evaluate(attributes: Attributes) -> Value:
        value: Value = call(*(cast(argument(attributes)) for cast, argument in arguments))
        return value

    return evaluate


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern of LIKE as a regular expression that takes no longer than its text is long, times its parts.

    What stands between two `%` is found as early as it can be, and never looked for again: `(?>…)`.
    """
    parts, place = [""], 0
    while place < len(pattern):
        sign = pattern[place]
        if sign == "\\" and pattern[place + 1 : place + 2] in ("%", "_"):
            place += 1
            parts[-1] += re.escape(pattern[place])
        elif sign == "%":
            parts.append("")
        else:
            parts[-1] += "." if sign == "_" else re.escape(sign)
        place += 1
    first, *middle = parts
    last = middle.pop() if middle else None
    made = first + "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(made if last is None else f"{made}.*{last}", re.DOTALL)
