"""CESQL's syntax, see section 2 of the specification: text to a tree, and errors that say where.

Where the specification leaves the order of AND, OR and XOR open, AND binds closer than OR, and OR than XOR.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streams.core.cesql.values import LEAST, MOST, Value

MAX_LENGTH = 10_000
MAX_DEPTH = 40

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<integer>\d+)(?![A-Za-z_0-9])
    |(?P<word>[A-Za-z0-9_]+)
    |(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<symbol>!=|<>|>=|<=|[=<>+\-*/%(),])""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = {"AND", "OR", "XOR", "NOT", "LIKE", "IN", "EXISTS", "TRUE", "FALSE"}
_COMPARISONS = ("=", "!=", "<>", ">=", "<=", "<", ">")
_ATTRIBUTE = re.compile(r"[A-Za-z0-9]+")
_FUNCTION = re.compile(r"[A-Za-z][A-Za-z_]*")


class BadExpression(ValueError):
    """The text is no expression; `position` counts characters from 1."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"{reason} at character {position}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Literal:
    """A value."""

    value: Value


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute's value."""

    name: str


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether the event has the attribute."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """`NOT x` or `-x`."""

    operator: str
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and what is between them."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Like:
    """A pattern with `%` and `_`."""

    operand: "Node"
    pattern: str


@dataclass(frozen=True, slots=True)
class In:
    """One of several."""

    operand: "Node"
    members: Sequence["Node"]


@dataclass(frozen=True, slots=True)
class Call:
    """A function's value; `position` for the error where there is no such function."""

    name: str
    arguments: Sequence["Node"]
    position: int


Node = Literal | Attribute | Exists | Unary | Binary | Like | In | Call


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int

    @property
    def keyword(self) -> str:
        """The word in upper case; keywords are without regard to case."""
        return self.text.upper() if self.kind == "word" else self.text


def parse(text: str) -> Node:
    """The tree of an expression. Raises `BadExpression`."""
    if len(text) > MAX_LENGTH:
        raise BadExpression(f"an expression has at most {MAX_LENGTH} characters: it goes on", MAX_LENGTH + 1)
    return _Parser(_tokens(text)).whole()


def _tokens(text: str) -> list[_Token]:
    made, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise BadExpression("a string is not closed" if text[place] in "'\"" else "an unknown sign", place + 1)
        if found.lastgroup != "space":
            made.append(_Token(str(found.lastgroup), found[0], place + 1))
        place = found.end()
    return [*made, _Token("end", "", len(text) + 1)]


class _Parser:
    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def whole(self) -> Node:
        tree = self._xor()
        if self._next.kind != "end":
            raise self._unexpected()
        return tree

    def _take(self, *texts: str) -> str | None:
        if self._next.kind in ("word", "symbol") and (text := self._next.keyword) in texts:
            self._place += 1
            return text
        return None

    def _need(self, text: str) -> None:
        if self._take(text) is None:
            raise self._unexpected(f"{text} is missing")

    def _unexpected(self, reason: str | None = None) -> BadExpression:
        what = "the end" if self._next.kind == "end" else repr(self._next.text)
        return BadExpression(reason or f"{what} is not expected", self._next.position)

    def _level(self, operators: Sequence[str], below: Callable[[], Node]) -> Node:
        left = below()
        while (operator := self._take(*operators)) is not None:
            left = Binary("!=" if operator == "<>" else operator, left, below())
        return left

    def _xor(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadExpression("too many brackets within brackets", self._next.position)
        tree = self._level(["XOR"], self._or)
        self._depth -= 1
        return tree

    def _or(self) -> Node:
        return self._level(["OR"], self._and)

    def _and(self) -> Node:
        return self._level(["AND"], self._comparison)

    def _comparison(self) -> Node:
        return self._level(_COMPARISONS, self._sum)

    def _sum(self) -> Node:
        return self._level(["+", "-"], self._product)

    def _product(self) -> Node:
        return self._level(["*", "/", "%"], self._matched)

    def _matched(self) -> Node:
        tree = self._unary()
        while True:
            start = self._place
            negated = self._take("NOT") is not None
            if self._take("LIKE"):
                if self._next.kind != "string":
                    raise self._unexpected("LIKE needs a string")
                tree = Like(tree, self._string())
            elif self._take("IN"):
                self._need("(")
                tree = In(tree, self._list())
            else:
                self._place = start
                return tree
            if negated:
                tree = Unary("NOT", tree)

    def _unary(self) -> Node:
        signs: list[str] = []
        while (sign := self._take("NOT", "-", "+")) is not None:
            signs.append(sign)
            if len(signs) > MAX_DEPTH:
                raise self._unexpected("too many signs in a row")
        if signs and signs[-1] in "+-" and self._next.kind == "integer":
            tree: Node = Literal(self._integer(signs.pop()))
        elif "+" in signs:
            raise self._unexpected("a + stands before a number only")
        else:
            tree = self._atom()
        for sign in reversed(signs):
            tree = Unary(sign, tree)
        return tree

    def _atom(self) -> Node:
        token = self._next
        if token.kind == "integer":
            return Literal(self._integer(""))
        if token.kind == "string":
            return Literal(self._string())
        if self._take("("):
            tree = self._xor()
            self._need(")")
            return tree
        if (word := self._take("TRUE", "FALSE")) is not None:
            return Literal(word == "TRUE")
        if self._take("EXISTS"):
            return Exists(self._attribute())
        if token.kind == "word" and self._tokens[self._place + 1].text == "(" and _FUNCTION.fullmatch(token.text):
            self._place += 2
            arguments = [] if self._take(")") else self._list()
            return Call(token.text, arguments, token.position)
        return Attribute(self._attribute())

    def _list(self) -> list[Node]:
        members = [self._xor()]
        while self._take(","):
            members.append(self._xor())
        self._need(")")
        return members

    def _attribute(self) -> str:
        token = self._next
        if token.kind != "word" or token.keyword in _KEYWORDS or not _ATTRIBUTE.fullmatch(token.text):
            raise self._unexpected()
        self._place += 1
        return token.text.lower()

    def _integer(self, sign: str) -> int:
        value = int(sign + self._next.text)
        if not LEAST <= value <= MOST:
            raise self._unexpected("an integer is beyond 32 bits")
        self._place += 1
        return value

    def _string(self) -> str:
        """A string without its quotes: only these can be escaped, any other backslash is one."""
        text = self._next.text
        self._place += 1
        return text[1:-1].replace("\\" + text[0], text[0])
