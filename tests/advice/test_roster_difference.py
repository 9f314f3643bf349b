"""What a change of people does, in words, and which way it goes."""

from dataclasses import replace
from typing import Any

import pytest
from tests.signer.world import ADA, BEN, CLEO, DECLARE_KEY, EVE, PAY_KEY, PAYER, TESS, roster

from strongroom.advice.difference import Way
from strongroom.advice.roster_difference import roster_differences
from strongroom.domain.permissions import Permission
from strongroom.protocol.roster import Credential, CredentialClass, Group, Person, Role, RosterClient

L, T, O = Way.LOOSER, Way.TIGHTER, Way.LOOK  # noqa: E741 as short as the table wants them
FIRST = roster()
KEY = Credential(b"\x09" * 32, ADA.passkey(9).public_key, CredentialClass.BROWSER)


def with_person(person: str, **changes: Any) -> Any:
    people = tuple(replace(each, **changes) if each.id == person else each for each in FIRST.people)
    return replace(FIRST, people=people)


def with_payer(**changes: Any) -> Any:
    return replace(FIRST, clients=(replace(FIRST.clients[0], **changes), FIRST.clients[1]))


def person(name: str) -> Person:
    return next(each for each in FIRST.people if each.id == name)


PAYS = FIRST.clients[0].keys[0]
CASES = {
    "nothing": (FIRST, []),
    "somebody leaves": (replace(FIRST, people=FIRST.people[1:]), [(f"people[{ADA.id}]", T)]),
    "a role more": (with_person(BEN.id, roles=(Role.APPROVER, Role.OFFICER)), [(f"people[{BEN.id}].roles", L)]),
    "a role less": (with_person(CLEO.id, roles=()), [(f"people[{CLEO.id}].roles", T)]),
    "another group": (with_person(BEN.id, groups=("treasury",)), [(f"people[{BEN.id}].groups", T),
                                                                  (f"people[{BEN.id}].groups", L)]),
    "another name": (with_person(BEN.id, name="Ben Other"), [(f"people[{BEN.id}].name", O)]),
    "a credential more": (with_person(BEN.id, credentials=(*person(BEN.id).credentials, KEY)),
                          [(f"people[{BEN.id}].credentials", L)]),
    "a terminal becomes a browser's": (
        with_person(TESS.id, credentials=tuple(
            replace(each, credential_class=CredentialClass.BROWSER) for each in person(TESS.id).credentials)),
        [(f"people[{TESS.id}].credentials", T), (f"people[{TESS.id}].credentials", L)]),
    "a lower threshold": (replace(FIRST, groups=(*FIRST.groups[:2], Group("officers", 1))),
                          [("groups[officers].threshold", L)]),
    "a higher threshold": (replace(FIRST, groups=(Group("treasury", 2), *FIRST.groups[1:])),
                           [("groups[treasury].threshold", T)]),
    "a group more": (replace(FIRST, groups=(*FIRST.groups, Group("new", 1))), [("groups[new].threshold", O)]),
    "a client leaves": (replace(FIRST, clients=FIRST.clients[:1]),
                        [(f"clients[{FIRST.clients[1].id}].keys[{DECLARE_KEY}]", T)]),
    "a client comes": (replace(FIRST, clients=(*FIRST.clients, RosterClient(
        "cl_" + "x" * 26, (replace(PAYS, id="ak_" + "x" * 26),), ()))),  # type: ignore[arg-type] # ids as text
        [(f"clients[cl_{'x' * 26}].keys[ak_{'x' * 26}]", L)]),
    "a scope less": (with_payer(keys=(replace(PAYS, scopes=(Permission.PAYOUTS_CREATE,)),)),
                     [(f"clients[{PAYER}].keys[{PAY_KEY}].scopes", T)]),
    "other bytes of a key": (with_payer(keys=(replace(PAYS, public_key=b"\x08" * 32),)),
                             [(f"clients[{PAYER}].keys[{PAY_KEY}].public_key", O)]),
    "a custodian less": (with_payer(custodians=()), [(f"clients[{PAYER}].custodians", L)]),
    "a custodian more": (with_payer(custodians=(EVE.id, ADA.id)), [(f"clients[{PAYER}].custodians", T)]),
}


@pytest.mark.parametrize(("after", "expected"), CASES.values(), ids=CASES)
def test_each_change_of_people_says_which_way_it_goes(after: Any, expected: list[tuple[str, Way]]) -> None:
    assert [(each.field, each.way) for each in roster_differences(FIRST, after)] == expected
