"""Rosters: read, written, and refused by the field at fault."""

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.passkey import Passkey

from strongroom.domain.document import DocumentError
from strongroom.domain.permissions import Permission
from strongroom.protocol.genesis import Mode
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import CredentialClass, Group, Role, parse_roster, roster_hash


def credential(number: int, kind: str = "browser") -> dict[str, Any]:
    return {"class": kind, "id": f"{number:064x}", "public_key": Passkey(seed=number).public_key.hex()}


def person(number: int, kind: str = "browser") -> dict[str, Any]:
    return {
        "credentials": [credential(number, kind)], "groups": ["treasury"], "id": "pe_" + "abcdef"[number - 1] * 26,
        "name": f"Person {number}", "roles": ["approver", "officer"],
    }


def client_key(number: int, *scopes: str) -> dict[str, Any]:
    return {"id": "ak_" + "abcdef"[number] * 26, "public_key": f"{number:02x}" * 32, "scopes": list(scopes)}


def roster() -> dict[str, Any]:
    return {
        "clients": [
            {"custodians": ["pe_" + "a" * 26], "id": "cl_" + "a" * 26, "keys": [client_key(1, "payouts:create")]},
            {"custodians": [], "id": "cl_" + "b" * 26, "keys": [client_key(2, "beneficiaries:create"), client_key(3)]},
        ],
        "groups": [{"name": "treasury", "threshold": 2}],
        "organisation": "org_" + "c" * 26,
        "people": [person(1), person(2)],
        "previous": None,
        "type": "strongroom/roster/v1",
        "version": 1,
    }


def test_a_roster_is_read_and_written_the_same() -> None:
    raw = rfc8785.dumps(roster())
    read = parse_roster(raw, Mode.PRODUCTION)
    assert write_roster(read) == raw
    assert read.people[0].roles == (Role.APPROVER, Role.OFFICER)
    assert read.people[1].credentials[0].credential_class is CredentialClass.BROWSER
    assert read.groups == (Group("treasury", 2),)
    assert read.clients[0].keys[0].scopes == (Permission.PAYOUTS_CREATE,)
    assert read.clients[0].custodians == (read.people[0].id,)


def test_an_empty_roster_and_a_later_version_are_rosters() -> None:
    raw = rfc8785.dumps(roster() | {"clients": [], "groups": [], "people": [], "version": 2, "previous": "ab" * 32})
    assert write_roster(parse_roster(raw, Mode.PRODUCTION)) == raw


def test_the_hash_is_that_of_an_independent_computation() -> None:
    raw = rfc8785.dumps(roster())
    assert roster_hash(raw) == hashlib.sha256(b"strongroom/roster/v1\0" + raw).hexdigest()


def test_software_keys_are_for_sandboxes_only() -> None:
    raw = rfc8785.dumps(roster() | {"people": [person(1), person(2, "software")]})
    assert parse_roster(raw, Mode.SANDBOX).people[1].credentials[0].credential_class is CredentialClass.SOFTWARE
    with pytest.raises(DocumentError, match="sandboxes only"):
        parse_roster(raw, Mode.PRODUCTION)


Change = Callable[[dict[str, Any]], Any]

FAULTS: dict[str, tuple[Change, str]] = {
    "unknown field": (lambda r: r.update(extra=1), "extra"),
    "another type": (lambda r: r.update(type="strongroom/roster/v2"), "type"),
    "foreign organisation": (lambda r: r.update(organisation="cl_" + "c" * 26), "organisation"),
    "previous in version 1": (lambda r: r.update(previous="ab" * 32), "previous"),
    "no previous in version 2": (lambda r: r.update(version=2), "previous"),
    "people no list": (lambda r: r.update(people={}), "people"),
    "unknown field of a person": (lambda r: r["people"][0].update(x=1), "people[0].x"),
    "person's id": (lambda r: r["people"][1].update(id="pe_"), "people[1].id"),
    "unknown role": (lambda r: r["people"][1].update(roles=["approver", "god"]), "people[1].roles[1]"),
    "role twice": (lambda r: r["people"][1].update(roles=["admin", "admin"]), "people[1].roles[1]"),
    "role no text": (lambda r: r["people"][1].update(roles=[1]), "people[1].roles[0]"),
    "roles no list": (lambda r: r["people"][1].update(roles="admin"), "people[1].roles"),
    "too many groups": (
        lambda r: r["people"][0].update(groups=[f"group {number}" for number in range(33)]), "people[0].groups"
    ),
    "unknown class": (
        lambda r: r["people"][0]["credentials"][0].update({"class": "x"}), "people[0].credentials[0].class"
    ),
    "upper-case hex": (lambda r: r["people"][0]["credentials"][0].update(id="AB"), "people[0].credentials[0].id"),
    "no hex": (lambda r: r["people"][0]["credentials"][0].update(id="xy"), "people[0].credentials[0].id"),
    "spaced hex": (lambda r: r["people"][0]["credentials"][0].update(id="ab cd"), "people[0].credentials[0].id"),
    "no COSE key": (
        lambda r: r["people"][0]["credentials"][0].update(public_key="ab" * 77), "people[0].credentials[0].public_key"
    ),
    "unknown field of a credential": (
        lambda r: r["people"][0]["credentials"][0].update(x=1), "people[0].credentials[0].x"
    ),
    "too many credentials": (
        lambda r: r["people"][0].update(credentials=[credential(1)] * 9), "people[0].credentials"
    ),
    "threshold 0": (lambda r: r["groups"][0].update(threshold=0), "groups[0].threshold"),
    "unknown field of a group": (lambda r: r["groups"][0].update(x=1), "groups[0].x"),
    "threshold above the members": (lambda r: r["groups"][0].update(threshold=3), "groups"),
    "a group without members": (lambda r: r["groups"].append({"name": "legal", "threshold": 1}), "groups"),
    "unknown group": (lambda r: r["people"][0]["groups"].append("legal"), "people.groups"),
    "unknown custodian": (lambda r: r["clients"][0]["custodians"].append("pe_" + "z" * 26), "clients.custodians"),
    "custodian's id": (lambda r: r["clients"][0].update(custodians=["x"]), "clients[0].custodians[0]"),
    "unknown field of a client": (lambda r: r["clients"][0].update(x=1), "clients[0].x"),
    "unknown scope": (
        lambda r: r["clients"][0]["keys"][0].update(scopes=["payouts:sign"]), "clients[0].keys[0].scopes"
    ),
    "declare and pay": (
        lambda r: r["clients"][0]["keys"][0]["scopes"].append("beneficiaries:create"), "clients[0].keys[0].scopes"
    ),
    "short key": (lambda r: r["clients"][0]["keys"][0].update(public_key="ab" * 31), "clients[0].keys[0].public_key"),
    "unknown field of a key": (lambda r: r["clients"][0]["keys"][0].update(x=1), "clients[0].keys[0].x"),
    "person twice": (lambda r: r["people"][1].update(id=r["people"][0]["id"]), "people"),
    "credential id twice": (
        lambda r: r["people"][1]["credentials"][0].update(id=r["people"][0]["credentials"][0]["id"]),
        "people.credentials",
    ),
    "one passkey for two people": (
        lambda r: r["people"][1]["credentials"][0].update(public_key=r["people"][0]["credentials"][0]["public_key"]),
        "people.credentials",
    ),
    "group twice": (lambda r: r["groups"].append(r["groups"][0]), "groups"),
    "client twice": (lambda r: r["clients"][1].update(id=r["clients"][0]["id"]), "clients"),
    "key id twice": (lambda r: r["clients"][1]["keys"][0].update(id=r["clients"][0]["keys"][0]["id"]), "clients.keys"),
    "one key for two clients": (
        lambda r: r["clients"][1]["keys"][0].update(public_key=r["clients"][0]["keys"][0]["public_key"]), "clients.keys"
    ),
}


@pytest.mark.parametrize(("change", "field"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_roster_is_refused_by_the_field_at_fault(change: Change, field: str) -> None:
    document = roster()
    change(document)
    with pytest.raises(DocumentError) as refusal:
        parse_roster(rfc8785.dumps(document), Mode.SANDBOX)
    assert refusal.value.field == field


Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> list[Path]:
    inner: list[Path] = [path] if path else []
    if isinstance(value, dict):
        return inner + [each for name, below in value.items() for each in places(below, (*path, name))]
    if isinstance(value, list):
        return inner + [each for index, below in enumerate(value) for each in places(below, (*path, index))]
    return inner


VALUES = st.none() | st.booleans() | st.integers(-9, 2**40) | st.text(max_size=5) | st.lists(st.text(max_size=3)) | (
    st.sampled_from(["pe_" + "b" * 26, "cl_" + "b" * 26, "admin", "treasury", "software", "payouts:read", "ab" * 32])
)


@given(st.sampled_from(places(roster())), VALUES)
def test_only_its_own_error_escapes_and_what_is_read_is_written_the_same(path: Path, value: Any) -> None:
    document: Any = copy.deepcopy(roster())
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    raw = rfc8785.dumps(document)
    try:
        read = parse_roster(raw, Mode.SANDBOX)
    except DocumentError:
        return
    assert write_roster(read) == raw


@given(st.binary(max_size=80))
def test_bytes_are_no_roster(raw: bytes) -> None:
    with pytest.raises(DocumentError):
        parse_roster(raw, Mode.SANDBOX)
