"""The OpenAPI 3.1 document, made from the route table and the schemas. `python -m strongroom.api.openapi` prints it."""

import json
import re
import sys
from typing import Any, Final

import msgspec

from strongroom.api.call import Route
from strongroom.api.routes import ROUTES
from strongroom.api.schemas import ProblemAnswer
from strongroom.domain.errors import CATALOGUE, Code

_REFERENCE: Final = "#/components/schemas/{name}"
_SIGNED: Final[list[dict[str, list[str]]]] = [{"signature": []}]
_READ: Final[list[dict[str, list[str]]]] = [{"signature": []}, {"bearer": []}]


def document() -> bytes:
    """The same bytes for the same code."""
    kinds = {kind for route in ROUTES for kind in (route.body, route.answer) if kind is not None} | {ProblemAnswer}
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    references, schemas = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    named = {kind.__name__: reference for kind, reference in zip(ordered, references, strict=True)}
    schemas["ProblemAnswer"]["properties"]["code"] = {"enum": [code.value for code in Code]}
    problems = {str(status): _problem(status, named["ProblemAnswer"]) for status in _STATUSES}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, named)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "Strongroom", "version": "1", "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES, "responses": problems},
    }
    return json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"


_STATUSES: Final = sorted({row.status for row in CATALOGUE.values()})


def _problem(status: int, base: dict[str, Any]) -> dict[str, Any]:
    """The answer with this status: which codes it can have, and for each whether to send the request again."""
    rows = {code.value: row for code, row in CATALOGUE.items() if row.status == status}
    says = (f"`{code}`: {row.title.lower()}{' (retryable)' if row.retryable else ''}" for code, row in rows.items())
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": list(rows)}}}
    schema = {"allOf": [base, narrowed]}
    headers = {"Request-Id": {"schema": {"type": "string"}}}
    if any(row.retryable for row in rows.values()):
        headers["Retry-After"] = {"schema": {"type": "string"}}
    return {
        "description": "; ".join(says), "content": {"application/problem+json": {"schema": schema}},
        "headers": headers,
    }


_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A read-only key; GET only"},
    "signature": {
        "type": "apiKey", "in": "header", "name": "Signature",
        "description": "RFC 9421 with Ed25519, a fixed profile: see docs/api.md",
    },
}


def _operation(route: Route, named: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z0-9]+', '_', route.path[3:])}",
        "security": [] if route.asserted else _READ if route.method == "GET" else _SIGNED,
        "x-permission": route.permission.value,
        "responses": _responses(route, named),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.query]
    if route.keyed:
        schema = {"type": "string", "pattern": "^[!-~]{1,255}$"}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": True, "schema": schema})
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content: dict[str, Any] = {"application/json": {"schema": named[route.body.__name__]}}
        if route.csv:
            content["text/csv"] = {"schema": {"type": "string"}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(route: Route, named: dict[str, Any]) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    if route.answer is not None:
        content = {"application/json": {"schema": named[route.answer.__name__]}}
    responses: dict[str, Any] = {str(route.status): {"description": "Done", "content": content}}
    responses |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in _STATUSES}
    return responses


if __name__ == "__main__":
    sys.stdout.buffer.write(document())
