"""Paths into an event, such as `data.customer.id`; a dot within a name is written `\\.`."""

import re

MAX_FIELDS = 256
MAX_PATH = 512
#: Names in a path, and levels of the data that a projection looks into: each is read again.
MAX_DEPTH = 16
_PATH = re.compile(r"^data(\.([^.\\\x00-\x1f]|\\[.\\])+)*$")
_NAME = re.compile(r"(?:[^.\\]|\\.)+")


def refuse(paths: tuple[str, ...]) -> str | None:
    """Why these are no fields of a payload; None where they are."""
    if not 0 < len(paths) <= MAX_FIELDS:
        return f"payload.fields has 1 to {MAX_FIELDS} paths"
    refused = next(filter(None, map(refuse_path, paths)), None)
    return f"payload.fields: {refused}" if refused is not None else None


def refuse_path(path: str) -> str | None:
    """Why it does not lead into the data; None where it does."""
    if len(path) > MAX_PATH or not _PATH.fullmatch(path):
        return f"{path[:64]!r} is not a path such as data.customer.id"
    if len(split(path)) > MAX_DEPTH:
        return f"{path[:64]!r} is deeper than {MAX_DEPTH}"
    return None


def split(path: str) -> list[str]:
    """The names on the way."""
    return [re.sub(r"\\(.)", r"\1", name) for name in _NAME.findall(path)]
