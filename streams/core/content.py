"""Filters on an event's data: an object laid over the data, with operators where equality is not enough.

A name leads into an object; `$and`, `$or` and `$not` combine; anything else is compared. Where the data has an array
and the filter has not, one element that matches is enough. Numbers are compared as they were written: `1.10` is 1.1,
and an integer of 30 digits is itself; the numbers of the filter are doubles.

What an evaluation may cost is bounded: it is a tenant's own filter on a tenant's own data, in a process that all share.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

MAX_DEPTH = 32
MAX_PARTS = 250
#: Comparisons of one endpoint's filters on one event, and of all filters on it; and what an endpoint has in any case,
#: which 10,000 of a tenant can have.
MAX_STEPS = 50_000
MAX_EVENT_STEPS = 1_000_000
MIN_STEPS = 100

#: What stands for a field that the data does not have.
MISSING: Any = object()

Test = Callable[[Any], bool]


class TooCostly(Exception):
    """The filter asks for more comparisons on this data than one may make."""


class Budget:
    """How many comparisons are left for one endpoint's filters on an event."""

    def __init__(self, left: int = MAX_STEPS) -> None:
        self.left = left


def share(asking: int) -> int:
    """The comparisons that each of so many endpoints has which ask for the data of an event.

    It does not depend on what the others do with theirs: so none takes another's, and it can be told afterwards.
    """
    return max(MIN_STEPS, min(MAX_STEPS, MAX_EVENT_STEPS // max(1, asking)))


class _Meter:
    """What the evaluation under way may still cost; evaluations do not overlap."""

    left = 0

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TooCostly("it would take too many comparisons on this data")


_METER = _Meter()


class _Unfathomable:
    """A number beyond what can be compared; it equals nothing."""


_UNFATHOMABLE = _Unfathomable()


class BadFilter(ValueError):
    """Why something cannot be a filter on data, with the place of the error."""


class NotJson(ValueError):
    """The data is not JSON, so that no filter on it matches."""


def parse(data: bytes) -> Any:
    """The data as filters see it. Raises `NotJson`."""
    try:
        return json.loads(data, parse_float=_number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise NotJson("the data is not JSON") from problem


def _number(text: str) -> Any:
    try:
        return Decimal(text)
    except ArithmeticError:
        return _UNFATHOMABLE


def evaluate(test: Test, data: Any, budget: Budget) -> bool:
    """Whether the filter matches. Raises `TooCostly`."""
    _METER.left = allowed = budget.left
    try:
        return test(data)
    finally:
        budget.left -= allowed - max(0, _METER.left)


def compile_filter(given: Any) -> Test:
    """The test that an object under `data` stands for. Raises `BadFilter`."""
    return _compiled(json.dumps(given, sort_keys=True))


@lru_cache(maxsize=4_096)
def _compiled(text: str) -> Test:
    try:
        given = json.loads(text, parse_float=_number, parse_constant=_refuse_constant)
    except ValueError as problem:
        raise BadFilter(f"data: {problem}") from problem
    if not isinstance(given, dict):
        raise BadFilter("data: is not an object")
    parts = list(_parts(given))
    if len(parts) > MAX_PARTS:
        raise BadFilter(f"data: has more than {MAX_PARTS} parts")
    if any(isinstance(part, int) and not -(2**63) <= part < 2**64 for part in parts):
        raise BadFilter("data: has an integer of more than 64 bits")
    return _object(given, "data", 0)


def _object(given: Mapping[str, Any], place: str, depth: int) -> Test:
    if depth > MAX_DEPTH:
        raise BadFilter(f"{place[:200]}: is nested deeper than {MAX_DEPTH}")
    tests = [
        _OPERATORS[name](wanted, f"{place}.{name}", depth + 1)
        if name in _OPERATORS
        else _field(name, wanted, f"{place}.{name}", depth + 1)
        for name, wanted in given.items()
    ]
    return lambda found: all(test(found) for test in tests)


def _field(name: str, wanted: Any, place: str, depth: int) -> Test:
    if name.startswith("$"):
        raise BadFilter(f"{place[:200]}: there is no operator {name[:40]}")
    test = _value(wanted, place, depth)

    def test_field(found: Any) -> bool:
        _METER.spend()
        if isinstance(found, list):
            return any(test_field(item) for item in found)
        return test(found.get(name, MISSING) if isinstance(found, dict) else MISSING)

    return test_field


def _value(wanted: Any, place: str, depth: int) -> Test:
    return _object(wanted, place, depth) if isinstance(wanted, dict) else _equal(wanted, place, depth)


def _equal(wanted: Any, place: str, depth: int) -> Test:
    if isinstance(wanted, list):
        return lambda found: (
            _same(found, wanted)
            or (isinstance(found, list) and all(any(_same(item, one) for item in found) for one in wanted))
        )
    return _on_any(lambda found: _same(found, wanted))


def _on_any(test: Test) -> Test:
    """The test of a value, or of one element of an array."""

    def test_any(found: Any) -> bool:
        _METER.spend()
        if test(found):
            return True
        if isinstance(found, list):
            for item in found:
                _METER.spend()
                if test(item):
                    return True
        return False

    return test_any


def _not(made: Callable[[Any, str, int], Test]) -> Callable[[Any, str, int], Test]:
    def negated(wanted: Any, place: str, depth: int) -> Test:
        test = made(wanted, place, depth)
        return lambda found: not test(found)

    return negated


def _ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Any, str, int], Test]:
    def compare(wanted: Any, place: str, depth: int) -> Test:
        kinds: Any = str if isinstance(wanted, str) else (int, Decimal)
        if isinstance(wanted, bool) or not isinstance(wanted, str | int | Decimal):
            raise BadFilter(f"{place[:200]}: takes a number or a text")
        return _on_any(
            lambda found: isinstance(found, kinds) and not isinstance(found, bool) and bool(holds(found, wanted))
        )

    return compare


def _in(wanted: Any, place: str, depth: int) -> Test:
    if not isinstance(wanted, list):
        raise BadFilter(f"{place[:200]}: takes an array")
    return _on_any(lambda found: any(_same(found, one) for one in wanted))


def _exist(wanted: Any, place: str, depth: int) -> Test:
    if not isinstance(wanted, bool):
        raise BadFilter(f"{place[:200]}: takes true or false")
    return lambda found: (found is not MISSING) is wanted


def _affix(holds: Callable[[str, tuple[str, ...]], bool]) -> Callable[[Any, str, int], Test]:
    def affixed(wanted: Any, place: str, depth: int) -> Test:
        texts = tuple(wanted) if isinstance(wanted, list) else (wanted,)
        if not texts or not all(isinstance(text, str) for text in texts):
            raise BadFilter(f"{place[:200]}: takes a text or an array of texts")
        return _on_any(lambda found: isinstance(found, str) and holds(found, texts))

    return affixed


def _several(combine: Callable[[Iterator[bool]], bool]) -> Callable[[Any, str, int], Test]:
    def combined(wanted: Any, place: str, depth: int) -> Test:
        if not isinstance(wanted, list) or not wanted:
            raise BadFilter(f"{place[:200]}: takes an array that is not empty")
        tests = [_value(one, f"{place}[{number}]", depth) for number, one in enumerate(wanted)]
        return lambda found: combine(test(found) for test in tests)

    return combined


_OPERATORS: dict[str, Callable[[Any, str, int], Test]] = {
    "$eq": _equal,
    "$ne": _not(_equal),
    "$gt": _ordered(lambda found, wanted: found > wanted),
    "$gte": _ordered(lambda found, wanted: found >= wanted),
    "$lt": _ordered(lambda found, wanted: found < wanted),
    "$lte": _ordered(lambda found, wanted: found <= wanted),
    "$in": _in,
    "$nin": _not(_in),
    "$exist": _exist,
    "$startsWith": _affix(str.startswith),
    "$endsWith": _affix(str.endswith),
    "$and": _several(all),
    "$or": _several(any),
    "$not": _not(_value),
}


def _same(found: Any, wanted: Any) -> bool:
    """Equality of JSON: a boolean is no number, and what is missing equals nothing."""
    _METER.spend()
    if found is MISSING:
        return False
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(value, wanted[name]) for name, value in found.items())
    return (type(found) is type(wanted) and bool(found == wanted)) or _numbers(found, wanted)


def _numbers(found: Any, wanted: Any) -> bool:
    return isinstance(found, int | Decimal) and isinstance(wanted, int | Decimal) and bool(found == wanted)


def _parts(given: Any) -> Iterator[Any]:
    yield given
    if isinstance(given, dict | list):
        for part in given.values() if isinstance(given, dict) else given:
            yield from _parts(part)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
