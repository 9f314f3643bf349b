"""docs/openapi.json is what the code says, what is served, and what really goes over the wire."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.server import ApiProcess, Owner
from tests.api.signer import Unsigned
from tests.api.test_routes import QUERIES, Objects
from tests.api.world import Organisation, create_world, fresh_key, payout

from strongroom.api.openapi import document
from strongroom.api.routes import ROUTES
from strongroom.domain.errors import CATALOGUE

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
WORDS = {
    "$ref", "additionalProperties", "allOf", "anyOf", "const", "default", "description", "enum", "items", "maxItems",
    "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "pattern",
    "properties", "propertyNames", "required", "title", "type",
}
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None),
}


class Schemas:
    """Checks values against the few words of JSON Schema that the document uses; an unknown word is an error."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole

    def find(self, reference: str) -> dict[str, Any]:
        found = self.whole
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        return found

    def faults(self, value: Any, schema: dict[str, Any], at: str = "$") -> list[str]:
        assert schema.keys() <= WORDS, schema.keys() - WORDS
        if "$ref" in schema:
            return self.faults(value, self.find(schema["$ref"]), at)
        found = [fault for each in schema.get("allOf", []) for fault in self.faults(value, each, at)]
        if "anyOf" in schema and all(self.faults(value, each, at) for each in schema["anyOf"]):
            found.append(f"{at}: none of anyOf")
        if "enum" in schema and value not in schema["enum"]:
            found.append(f"{at}: {value!r} isn't in the enum")
        if "const" in schema and value != schema["const"]:
            found.append(f"{at}: {value!r} isn't {schema['const']!r}")
        kind = schema.get("type")
        if kind is not None and (not isinstance(value, TYPES[kind]) or (kind == "integer" and value is True)):
            return [*found, f"{at}: {value!r} isn't a {kind}"]
        return found + self._inside(value, schema, at)

    def _inside(self, value: Any, schema: dict[str, Any], at: str) -> list[str]:
        found: list[str] = []
        if isinstance(value, str):
            found += _bounds(len(value), schema, "Length", at)
            if "pattern" in schema and re.search(schema["pattern"], value) is None:
                found.append(f"{at}: {value!r} hasn't the pattern")
        elif isinstance(value, list):
            found += _bounds(len(value), schema, "Items", at)
            for index, each in enumerate(value):
                found += self.faults(each, schema.get("items", {}), f"{at}[{index}]")
        elif isinstance(value, dict):
            found += _bounds(len(value), schema, "Properties", at)
            found += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
            known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
            for name, each in value.items():
                if name in known:
                    found += self.faults(each, known[name], f"{at}.{name}")
                elif others is False:
                    found.append(f"{at}.{name}: is unknown")
                else:
                    found += self.faults(name, schema.get("propertyNames", {}), at)
                    found += self.faults(each, others, f"{at}.{name}")
        elif isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            found.append(f"{at}: {value} is out of bounds")
        return found


def _bounds(size: int, schema: dict[str, Any], what: str, at: str) -> list[str]:
    is_within = schema.get(f"min{what}", size) <= size <= schema.get(f"max{what}", size)
    return [] if is_within else [f"{at}: {size} is out of bounds"]


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas(json.loads(FILE.read_bytes()))


def operations(whole: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{method.upper()} {path}": operation
            for path, methods in whole["paths"].items() for method, operation in methods.items()}


def test_the_committed_file_is_what_the_code_says_and_what_is_served(http: httpx.Client) -> None:
    assert FILE.read_bytes() == document(), "run tools/openapi_doc.py"
    assert http.get("/openapi.json").content == FILE.read_bytes()


def test_every_route_is_in_it_and_nothing_else(schemas: Schemas) -> None:
    found = operations(schemas.whole)
    assert set(found) == {f"{route.method} {route.path}" for route in ROUTES}
    for route in ROUTES:
        operation = found[f"{route.method} {route.path}"]
        assert operation["x-permission"] == route.permission.value
        named = {(each["in"], each["name"]) for each in operation.get("parameters", [])}
        assert named == {
            *(("path", name) for name in re.findall(r"\{(\w+)\}", route.path)),
            *(("query", name) for name in route.query),
            *([("header", "Idempotency-Key")] if route.keyed else []),
        }
        assert ("requestBody" in operation) == (route.method == "POST")
        assert ({"bearer": []} in operation["security"]) == (route.method == "GET")
    assert len({operation["operationId"] for operation in found.values()}) == len(ROUTES)


def test_every_code_is_in_the_answer_of_its_status_and_of_no_other(schemas: Schemas) -> None:
    for operation in operations(schemas.whole).values():
        problems = {status: answer for status, answer in operation["responses"].items() if "$ref" in answer}
        assert set(problems) == {str(row.status) for row in CATALOGUE.values()}
        for status, answer in problems.items():
            schema = schemas.find(answer["$ref"])["content"]["application/problem+json"]["schema"]
            codes = schema["allOf"][1]["properties"]["code"]["enum"]
            assert codes == [code.value for code, row in CATALOGUE.items() if str(row.status) == status]


def test_unknown_fields_are_refused_in_it_wherever_a_client_sends_an_object(schemas: Schemas) -> None:
    sent: set[str] = set()

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            name = schema.get("$ref", "").rpartition("/")[2]
            if name and name not in sent:
                sent.add(name)
                assert schemas.find(schema["$ref"])["additionalProperties"] is False, name
                walk(schemas.find(schema["$ref"]))
            for each in schema.values():
                walk(each)
        elif isinstance(schema, list):
            for each in schema:
                walk(each)

    for operation in operations(schemas.whole).values():
        walk(operation.get("requestBody", {}))
    assert {"PayoutBody", "RunBody", "RunItemBody", "SealBody", "BeneficiaryBody", "DestinationFields", "Actor"} <= sent


@pytest.fixture(scope="module")
def objects(api: ApiProcess, owner: Owner, http: httpx.Client) -> tuple[Organisation, Objects]:
    world = create_world(api, owner, http)
    return world, Objects(world)


SIGNED = [route for route in ROUTES if not route.asserted]


@pytest.mark.parametrize("route", SIGNED, ids=lambda route: f"{route.method} {route.path}")
def test_what_goes_over_the_wire_has_the_schemas(
    schemas: Schemas, objects: tuple[Organisation, Objects], route: Any
) -> None:
    world, made = objects
    call = f"{route.method} {route.path}"
    operation = operations(schemas.whole)[call]
    client = world.declarer if route.permission.value == "beneficiaries:create" else world.payer
    request = made.request(call)
    if route.method == "POST":
        body = made.body(call)
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schemas.faults(body, schema) == []
        assert schemas.faults({**body, "colour": 1}, schema) == ["$.colour: is unknown"]
    for answer in (client.send(request), world.clients["new"].send(request),
                   client.send(Unsigned(route.method, request.path, "x=1", b"{}" if request.body else b"",
                                        request.content_type, request.idempotency_key and fresh_key()))):
        described = operation["responses"][str(answer.status_code)]
        described = schemas.find(described["$ref"]) if "$ref" in described else described
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in described["content"], described
        if kind != "text/plain":
            assert schemas.faults(answer.json(), described["content"][kind]["schema"]) == []
    assert QUERIES


def test_the_schema_refuses_what_the_api_refuses(schemas: Schemas, objects: tuple[Organisation, Objects]) -> None:
    """For faults of form; the API knows more than a schema can say."""
    world, made = objects
    schema = {"$ref": "#/components/schemas/PayoutBody"}
    for changes in (
        {"amount": 1}, {"amount": "0"}, {"amount": "1\n"}, {"amount": "01"}, {"beneficiary": "x"}, {"external_id": ""},
        {"destination_digest": "A" * 64}, {"on_hold": "x"}, {"metadata": {"a": 1}}, {"activities": ["a"] * 1_001},
        {"actor": {}}, {"not_before": "2030-01-01"}, {"asset": "x" * 121}, {"remittance_information": "x" * 141},
    ):
        body = payout(made.to, **changes)
        assert schemas.faults(body, schema) != [], changes
        answer = world.payer.post("/v1/payouts", body, fresh_key())
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text


def test_no_pattern_lets_a_newline_by_at_the_end(schemas: Schemas) -> None:
    """Python's `$` matches before a last newline; a pattern that ends in it alone would take `k\\n` for `k`."""
    patterns: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            patterns.update(each for name, each in value.items() if name == "pattern" and isinstance(each, str))
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(each)

    walk(schemas.whole["components"]["schemas"])
    assert len(patterns) >= 8
    assert [pattern for pattern in sorted(patterns) if not pattern.endswith(r"$(?!\n)")] == []
