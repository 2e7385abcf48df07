"""An AsyncAPI document as a reader uses it: which message of its channel a record is, and what it does not tell."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from jsonschema_rs import Draft7Validator

Headers = Iterable[tuple[str, bytes | None]]


class Described:
    """A document. Channels are named by their address."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._channels = {channel["address"]: channel for channel in document["channels"].values()}
        self._validators: dict[str, Draft7Validator] = {}

    def kinds(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> list[str]:
        """The messages that a record in a topic is valid as; one, where the document is true."""
        messages = {name: self.resolved(one) for name, one in self._channels[topic]["messages"].items()}
        return [name for name, message in messages.items() if self._is_valid(message, key, value, headers)]

    def untold(self, topic: str, kind: str, value: bytes | None, headers: Headers) -> set[str]:
        """The fields and headers of a record that the document has no word for."""
        message = self.resolved(self._channels[topic]["messages"][kind])
        told = message["headers"]
        patterns = list(told.get("patternProperties", {}))
        found = {f"header {name}" for name, _ in headers if name not in told["properties"]
                 and not any(re.search(pattern, name) for pattern in patterns)}  # fmt: skip
        if "json" in message["contentType"] and value is not None:
            found |= set(self._untold(json.loads(value), message["payload"], ""))
        return found

    def resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        """What a reference within the document leads to. Raises KeyError where that is nothing."""
        while "$ref" in part:
            found: Any = self.document
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            part = found
        return part

    def _is_valid(self, message: dict[str, Any], key: bytes | None, value: bytes | None, headers: Headers) -> bool:
        named = {name.lower(): None if raw is None else raw.decode("utf-8", "replace") for name, raw in headers}
        try:
            parsed: Any = None if value is None else value.decode("latin-1")
            if value is not None and "json" in message["contentType"]:
                parsed = json.loads(value)
        except ValueError:
            return False
        return (
            self._validator(message["bindings"]["kafka"]["key"]).is_valid(
                None if key is None else key.decode("latin-1")
            )
            and self._validator(message["headers"]).is_valid(named)
            and self._validator(message["payload"]).is_valid(parsed)
        )

    def _validator(self, schema: dict[str, Any]) -> Draft7Validator:
        name = json.dumps(schema, sort_keys=True)
        if name not in self._validators:
            self._validators[name] = Draft7Validator({"allOf": [schema], "components": self.document["components"]})
        return self._validators[name]

    def _untold(self, value: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
        """Names in a value that its schema does not have; one that is open to others in so many words has them all."""
        schema = self.resolved(schema)
        choices = schema.get("oneOf") or schema.get("anyOf")
        if choices:
            schema = self.resolved(next(one for one in choices if self._validator(one).is_valid(value)))
        if isinstance(value, dict) and "properties" in schema:
            for name, one in value.items():
                if name in schema["properties"]:
                    yield from self._untold(one, schema["properties"][name], f"{place}.{name}")
                elif not schema.get("additionalProperties"):
                    yield f"{place}.{name}"
        if isinstance(value, list) and "items" in schema:
            for one in value:
                yield from self._untold(one, schema["items"], place)
