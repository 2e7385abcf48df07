"""Order: deliveries of one endpoint with the same value at `ordered_by` form a line, and each waits for the one before.

What is kept of a line is two numbers, whatever its length. A delivery's place in its line is its offset in
`deliveries`; `after` is the place of the one before it, where that was not over when it came.
"""

import hashlib
import re
from dataclasses import dataclass
from decimal import Decimal

import orjson

from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings
from streams.core import fields
from streams.core.filtering import Filterable

#: What is waited for is on its way already, or its time is not known.
SOON_MS = 1_000
_ATTRIBUTE = re.compile(r"^[a-z0-9]{1,64}$")
NOTHING = -1


def refuse(path: str) -> str | None:
    """Why nothing can be ordered by it; None where it can."""
    if _ATTRIBUTE.fullmatch(path) and path != "data":
        return None
    if (refused := fields.refuse_path(path)) is not None:
        return f"ordered_by: {refused}, nor an attribute of the event such as subject"
    return None


def key_of(settings: EndpointSettings | None, event: Filterable) -> str | None:
    """What stands for the value that the event has at `ordered_by`; None where there is no order.

    That is where it has no text, number or boolean there, too.

    `1` and `"1"` are different values, `1.0` and `1` are one.
    """
    return key_at(settings.ordered_by, event) if settings is not None else None


def key_at(path: str | None, event: Filterable) -> str | None:
    """The same, with `ordered_by` itself."""
    if path is None:
        return None
    match event.value_at(path):
        case bool() as value:
            text = f"boolean {value}"
        case str() as value:
            text = f"text {value}"
        case int() | Decimal() as value:
            text = f"number {_written(Decimal(value))}"
        case _:
            return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _written(number: Decimal) -> str:
    """One text for each value, with all its digits; `normalize` would round."""
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    return f"{'-' * sign}{kept}e{int(exponent) + len(text) - len(kept)}" if kept else "0"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `seen`: the last place; `done`: the last that is over; `due_ms`: when the first may move on."""

    seen: int
    done: int = NOTHING
    due_ms: int = 0

    def encode(self) -> bytes:
        """The value in `ordering`."""
        return orjson.dumps({"seen": self.seen, "done": self.done, "due_ms": self.due_ms})

    @classmethod
    def decode(cls, value: bytes) -> "Line":
        """The inverse. Raises ValueError or KeyError on anything else."""
        told = orjson.loads(value)
        return cls(int(told["seen"]), int(told["done"]), int(told["due_ms"]))


@dataclass(frozen=True, slots=True)
class Step:
    """A delivery has left memory: it is over, or (`due_ms` is set) waits in the log until then.

    `done`: the last of its line that was over by then, so that a line that begins in the log with it knows.
    """

    line: bytes
    place: int
    due_ms: int | None = None
    done: int = NOTHING


def name_of(delivery: Delivery) -> bytes:
    """The line's key in `ordering`."""
    return delivery.key + b"/" + (delivery.order_key or "").encode()


class Lines:
    """The lines of a partition that are not empty: as they are in memory, and as they are in the log."""

    def __init__(self) -> None:
        self._now: dict[bytes, Line] = {}
        self._logged: dict[bytes, Line] = {}
        #: The last place of each line that came into memory.
        self._tails: dict[bytes, int] = {}

    def opened(self, *, fresh: bool) -> None:
        """Everything that the log says has been told to `settled`. `fresh`: nothing is in memory."""
        if fresh:
            self._now = dict(self._logged)
            self._tails.clear()

    def arrive(self, name: bytes, place: int) -> int | None:
        """A delivery comes for the first time, or again after a restart; returns its `after`.

        One that comes again before the end of its line was in memory together with all that are not over before it,
        for who goes to wait in the log takes those behind it along.
        """
        line = self._now.get(name)
        if line is None:
            self._now[name] = Line(place)
            before = NOTHING
        elif place > line.seen:
            self._now[name] = Line(place, line.done, line.due_ms)
            before = line.seen
        else:
            before = self._tails.get(name, NOTHING)
        self._tails[name] = place
        return before if line is not None and line.done < before < place else None

    def may_go(self, name: bytes, after: int | None) -> bool:
        """Whether the one before is over. A line that nothing is known of is empty."""
        line = self._now.get(name)
        return after is None or line is None or line.done >= after

    def due_ms(self, name: bytes) -> int:
        """When the first of the line may move on; 0 where that is not known."""
        line = self._now.get(name)
        return line.due_ms if line is not None else 0

    def leave(self, name: bytes, place: int, due_ms: int | None) -> Step:
        """A delivery leaves memory."""
        line = self._now.get(name)
        step = Step(name, place, due_ms, line.done if line is not None else NOTHING)
        _move(self._now, step)
        if name not in self._now:
            self._tails.pop(name, None)
        return step

    def logged(self, steps: list[Step]) -> dict[bytes, Line | None]:
        """What the log is to say after these, by line; None: the line is empty. It is said when `settled` is called."""
        after = dict[bytes, Line]()
        touched = {step.line for step in steps}
        for name in touched & self._logged.keys():
            after[name] = self._logged[name]
        for step in steps:
            _move(after, step)
        return {name: after.get(name) for name in touched if after.get(name) != self._logged.get(name)}

    def settled(self, written: dict[bytes, Line | None]) -> None:
        """This is in the log."""
        for name, line in written.items():
            if line is None:
                self._logged.pop(name, None)
            else:
                self._logged[name] = line


def _move(lines: dict[bytes, Line], step: Step) -> None:
    line = lines.get(step.line)
    if line is None:
        if step.due_ms is not None:
            lines[step.line] = Line(step.place, step.done, step.due_ms)
        return
    if step.due_ms is None:
        line = Line(line.seen, max(line.done, step.place), line.due_ms)
        if line.done >= line.seen:
            del lines[step.line]
            return
    else:
        line = Line(max(line.seen, step.place), max(line.done, step.done), step.due_ms)
    lines[step.line] = line
