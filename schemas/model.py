"""How every record is read: frozen, strict about the fields it knows, deaf to those it does not."""

import functools
import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

ID_PATTERN = r"^[A-Za-z0-9_-]{1,128}$"

_IDENTIFIER = re.compile(ID_PATTERN)

#: A tenant or an endpoint: `[A-Za-z0-9_-]`, 1 to 128 characters.
Identifier = Annotated[str, StringConstraints(pattern=ID_PATTERN)]


class Record(BaseModel):
    """A value on the wire. Unknown fields are ignored, so that old readers and new writers run side by side."""

    # What is wrong is told without what was given: it may be a secret.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)


_Made = TypeVar("_Made", bound=Record)
_set = object.__setattr__


def trusted(model: type[_Made], fields: dict[str, Any]) -> _Made:
    """The record that validation would make of fields that are all given and all known to be valid; none is looked at.

    The record owns `fields` from here on. Validation costs more than all else that is done with a small record.
    """
    made = model.__new__(model)
    _set(made, "__dict__", fields)
    _set(made, "__pydantic_fields_set__", _names(model))
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


@functools.cache
def _names(model: type[Record]) -> set[str]:
    return set(model.model_fields)


def is_identifier(text: str) -> bool:
    """True for what may be a tenant or an endpoint."""
    return _IDENTIFIER.fullmatch(text) is not None


def first_line(problem: ValidationError) -> str:
    """What is wrong, in one line that does not repeat what was given: `place: message`."""
    first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return " ".join((f"{place}: {first['msg']}" if place else first["msg"]).split())[:500]
