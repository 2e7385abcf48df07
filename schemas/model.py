"""How every record is read: frozen, strict about the fields it knows, deaf to those it does not."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

ID_PATTERN = r"^[A-Za-z0-9_-]{1,128}$"

#: A tenant or an endpoint: `[A-Za-z0-9_-]`, 1 to 128 characters.
Identifier = Annotated[str, StringConstraints(pattern=ID_PATTERN)]


class Record(BaseModel):
    """A value on the wire. Unknown fields are ignored, so that old readers and new writers run side by side."""

    # What is wrong is told without what was given: it may be a secret.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)
