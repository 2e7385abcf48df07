"""The OpenAPI 3.1 document, made from the calls and the models that they take and answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import orjson
from openapi_pydantic import OpenAPI
from openapi_pydantic.util import PydanticSchema, construct_open_api_with_schema_class
from pydantic import BaseModel

from handlers.gateway.calls import Call
from handlers.gateway.problems import CONTENT_TYPE, Kind
from schemas.api import Problem, PublishedBatch
from schemas.model import ID_PATTERN
from schemas.version import VERSION

#: What any call may answer.
USUAL = (
    Kind.BAD_REQUEST,
    Kind.UNAUTHORIZED,
    Kind.FORBIDDEN,
    Kind.NOT_FOUND,
    Kind.TOO_MANY,
    Kind.UNAVAILABLE,
    Kind.INTERNAL,
)
#: What one with a body may answer besides.
WITH_BODY = (Kind.TOO_LARGE, Kind.UNSUPPORTED, Kind.INVALID)


#: A part of the document, as the specification writes it; models stand in it as `_schema` makes them.
Part = dict[str, Any]


def document(calls: Iterable[Call]) -> bytes:
    """The document as JSON."""
    paths: dict[str, Part] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    token = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "made by `hookfold token`"}
    written = OpenAPI.model_validate(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Hookfold",
                "version": VERSION,
                "summary": "Webhooks out of Kafka, that never vanish.",
                "description": "Every write is a record in Kafka; what is read is folded from there.",
            },
            "paths": paths,
            "components": {"securitySchemes": {"token": token}},
            "security": [{"token": []}],
        }
    )
    described = construct_open_api_with_schema_class(written)
    return orjson.dumps(described.model_dump(mode="json", by_alias=True, exclude_none=True))


def _schema(model: type[BaseModel]) -> Any:
    return PydanticSchema.model_validate({"schema_class": model})


def _operation(call: Call) -> Part:
    body = _body(call)
    problems = {*USUAL, *call.problems, *(WITH_BODY if body else ()), *([Kind.INVALID] if call.query else ())}
    responses = {str(status): _success(call, status, model) for status, model in call.answers.items()}
    responses |= {str(kind.status): _problem(kind) for kind in sorted(problems, key=lambda kind: kind.status)}
    return {
        "operationId": re.sub(r"[^a-z]+", "_", call.summary).strip("_"),
        "summary": call.summary,
        "description": f"{' '.join((call.handle.__doc__ or '').split())} Needs the scope `{call.scope}`.",
        "tags": [call.path.split("/")[4]],
        "parameters": [*_in_path(call.path), *_in_query(call.query), *_in_headers(call)],
        "responses": responses,
        **({"requestBody": body} if body else {}),
    }


def _body(call: Call) -> Part | None:
    bodies = dict(call.bodies) or ({"application/json": call.body} if call.body is not None else {})
    content = {
        content_type: {
            "schema": {"type": "array", "items": _schema(model[0]), "minItems": 1}
            if isinstance(model, list)
            else _schema(model)
        }
        for content_type, model in bodies.items()
    }
    return {"content": content, "required": not call.optional} if content else None


def _success(call: Call, status: int, model: type[BaseModel] | None) -> Part:
    if model is None:
        return {"description": HTTPStatus(status).phrase}
    schema: Any = _schema(model)
    if call.bodies:
        schema = {"anyOf": [schema, _schema(PublishedBatch)]}
    told = {
        "description": " ".join((model.__doc__ or "").split()),
        "content": {"application/json": {"schema": schema}},
    }
    if "version" in model.model_fields:
        told["headers"] = {"ETag": {"description": "the endpoint's version", "schema": {"type": "string"}}}
    return told


def _problem(kind: Kind) -> Part:
    told: Part = {"description": kind.value[2], "content": {CONTENT_TYPE: {"schema": _schema(Problem)}}}
    if kind in (Kind.TOO_MANY, Kind.UNAVAILABLE):
        told["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "string"}}}
    return told


def _in_path(path: str) -> list[Part]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1}
            if name == "delivery_id"
            else {"type": "string", "pattern": ID_PATTERN},
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _in_query(model: type[BaseModel] | None) -> list[Part]:
    if model is None:
        return []
    described = model.model_json_schema()
    found = []
    for name, field in described["properties"].items():
        told = {key: value for key, value in field.items() if key not in ("title", "default")}
        given = next(one for one in told.get("anyOf", [told]) if one.get("type") != "null")
        if reference := given.get("$ref", "").rpartition("/")[2]:
            given = {key: described["$defs"][reference][key] for key in ("type", "enum")}
        found.append({"name": name, "in": "query", "required": False, "schema": given})
    return found


def _in_headers(call: Call) -> list[Part]:
    return [
        {"name": name, "in": "header", "required": False, "description": words, "schema": {"type": "string"}}
        for name, words in call.headers.items()
    ]
