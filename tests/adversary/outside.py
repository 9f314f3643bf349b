"""Attacks by those who don't hold the engine: strangers, clients, people, the station's, API's and database's hosts.

Each runs against real processes with the engine honestly at work, through sockets and SQL that its attacker has, and
says what was taken, from the raw blocks, and the bound that `advice/bound.py` computes from the policy in force. A
hostile API is the shipped one with its own checks taken out: its host runs what it likes.
"""

import json
from dataclasses import replace

import httpx
from tests.adversary.attacks import CASES as IN_PROCESS
from tests.adversary.attacks import LIMITS_OUT, budgets
from tests.adversary.build import Patch
from tests.adversary.firm import found, hash_of
from tests.adversary.ground import Ground
from tests.adversary.plunder import (
    LARGE,
    MIDDLE,
    OWN,
    SMALL,
    WITH_PEOPLE,
    Case,
    Control,
    Loss,
    policy,
    takings,
    tries,
)

from strongroom.advice.bound import Attacker
from strongroom.domain.instant import HOUR_MS
from strongroom.formats import simulated
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.negative import Action

# Strangers, and clients' keys.


def nothing_or_a_bearer_key(ground: Ground) -> Loss:
    """The attacker has a bearer key, what a wire shows and what everybody can reach, wants money at its own address;
    the bound is 0. It changes an honest request, signs as others, and writes to guard.
    """
    firm = found(ground, policy())
    honest = firm.declare("rosa")
    firm.promise("rosa", SMALL, honest)
    bearer = {"Authorization": f"Bearer {firm.document['clients']['readonly']['bearer']}"}
    body = {"name": "Me", "destination": {"network": simulated.NETWORK, "address": OWN[0]}}
    with httpx.Client(base_url=ground.api_url, timeout=10, trust_env=False) as http:
        for headers in ({}, bearer, {**bearer, "Idempotency-Key": "mine"}):
            http.post("/v1/beneficiaries", json=body, headers=headers)
            http.post("/v1/payouts", json={**body, "amount": str(SMALL)}, headers=headers)
    mine = tries(lambda: firm.declare("mine", OWN[0], firm.stranger("beneficiaries")))
    for to in (mine, honest):
        if to is not None:
            tries(lambda to=to: firm.ask(to, f"mine-{to['id']}", SMALL, firm.stranger("payouts")))
    for action, subject in ((Action.UNFREEZE, "organisation"), (Action.RESOLVE, "deficit")):
        assert firm.instruct(action, subject).status_code >= 400
    firm.rest()
    return Loss(takings(firm).beyond(firm.promised), firm.bound(Attacker.NOTHING))


def payout_key_to_own_address(ground: Ground) -> Loss:
    """The attacker has a client's payout key, wants money at its own address; the bound is 0. It declares with the
    key that may only pay, and hangs its address on another's id.
    """
    firm = found(ground, policy())
    honest = firm.declare("rosa")
    payer = firm.client("payouts")
    mine = tries(lambda: firm.declare("mine", OWN[0], payer))
    version = {"network": simulated.NETWORK, "address": OWN[1]}
    tries(lambda: payer.beneficiaries.add_destination(honest, version))
    if mine is not None:
        tries(lambda: firm.ask(mine, "mine", SMALL))
        tries(lambda: firm.ask({**mine, "id": honest["id"]}, "hung", SMALL))
    firm.rest()
    return Loss(takings(firm).to(OWN), firm.bound(Attacker.PAYOUT_KEY))


def payout_key_elsewhere(ground: Ground) -> Loss:
    """The attacker has a client's payout key, wants to empty the wallet to destinations that exist; the bound is
    min(K, B) in a day.
    """
    firm = found(ground, policy(limits=budgets(D=10**9)["limits"]))
    for number in range(7):
        to = firm.declare(f"known-{number}")
        tries(lambda to=to, number=number: firm.ask(to, f"one-{number}", SMALL))
    items = [
        {"beneficiary": to["id"], "destination_digest": to["destination"]["digest"], "asset": simulated.ASSET,
         "amount": "3000", "external_id": f"run-{number}", "idempotency_key": f"run-{number}"}
        for number, to in enumerate([firm.declare("known-0"), firm.declare("known-1")])
    ]
    tries(lambda: firm.client("payouts").runs.create(items, idempotency_key="run"))
    firm.rest()
    return Loss(takings(firm).elsewhere, firm.bound(Attacker.PAYOUT_KEY, elsewhere=True))


def payout_key_after_it_was_revoked(ground: Ground) -> Loss:
    """The attacker has a client's payout key that an officer revoked at guard, wants anything; the bound is 0, as it
    holds until revoked only.
    """
    firm = found(ground, policy())
    to = firm.declare("known")
    key = firm.document["clients"]["payouts"]["key_id"]
    assert firm.instruct(Action.REVOKE, key, "cleo").status_code == 202
    tries(lambda: firm.ask(to, "late", SMALL))
    firm.rest()
    return Loss(takings(firm).elsewhere, 0)


def both_keys_to_own_addresses(ground: Ground) -> Loss:
    """The attacker has a payout key and a declare key, wants money at its own addresses; the bound is min(K, B, D) in
    a day, after cooling-off.
    """
    firm = found(ground, policy())
    for number, address in enumerate(OWN):
        to = firm.declare(f"mine-{number}", address)
        tries(lambda to=to, number=number: firm.ask(to, f"mine-{number}", 10_000))
    firm.rest()
    return Loss(takings(firm).to(OWN), firm.bound(Attacker.BOTH_KEYS))


def both_keys_before_cooling_off(ground: Ground) -> Loss:
    """The attacker has both keys, wants its money at once; the bound is 0 until its address has cooled off."""
    firm = found(ground, policy(HOUR_MS))
    mine = firm.declare("mine", OWN[0])
    tries(lambda: firm.ask(mine, "mine", SMALL))
    later = {"network": simulated.NETWORK, "address": OWN[1]}
    tries(lambda: firm.client("beneficiaries").beneficiaries.add_destination(mine, later))
    firm.rest()
    return Loss(takings(firm).to(OWN), 0)


# People, and what they look at.


def approver_alone(ground: Ground) -> Loss:
    """The attacker is one approver, wants payouts released that need two people; the bound is 0. It asserts twice, as
    somebody else, and over another request.
    """
    firm = found(ground, policy(**WITH_PEOPLE))
    payouts = [firm.ask(firm.declare(name), name, LARGE) for name in ("one", "two")]
    requests = [firm.request_for(payout) for payout in payouts]
    (own,) = firm.assert_by(requests[0], "ada")
    (other,) = firm.assert_by(requests[1], "ada")
    ben = firm.passkey("ben")
    as_ben = replace(own, person=ben.person, credential=ben.credential)
    with_own_key = replace(own, person=ben.person)
    for given in (own, own, other, as_ben, with_own_key):
        firm.approve(requests[0], given)
    firm.rest()
    return Loss(takings(firm).elsewhere, firm.bound(Attacker.PERSON))


def custodian_with_the_keys(ground: Ground) -> Loss:
    """The attacker has a client's payout key and is an approver who is its custodian, wants what it could release;
    the bound is min(K, B), as if it were no approver.
    """
    firm = found(ground, policy(limits=budgets(D=10**9)["limits"]), custodians=("ada",))
    for number in range(5):
        to = firm.declare(f"known-{number}")
        if number < 2:
            payout = firm.ask(to, f"large-{number}", MIDDLE)
            request = firm.request_for(payout)
            firm.approve(request, *firm.assert_by(request, "ada"))
        else:
            tries(lambda to=to, number=number: firm.ask(to, f"small-{number}", SMALL))
    firm.rest()
    return Loss(takings(firm).elsewhere, firm.bound(Attacker.CUSTODIAN, elsewhere=True))


def stations_host(ground: Ground) -> Loss:
    """The attacker has the station's host, so that people assert whatever it shows them, and somebody's client keys to
    ask with; wants all at its own addresses. The bound is what browser credentials alone may release in a day.
    """
    firm = found(ground, policy(limits=WITH_PEOPLE["limits"], browser_release_reference_minor=str(3 * MIDDLE)))
    for number, address in enumerate(OWN[:6]):
        payout = firm.ask(firm.declare(f"mine-{number}", address), f"mine-{number}", MIDDLE)
        request = firm.request_for(payout)
        for given in firm.assert_by(request, "ada", "ben"):
            firm.approve(request, given)
    firm.rest()
    return Loss(takings(firm).to(OWN), firm.bound(Attacker.STATION))


# The API's host, and the database's.


def api_host(ground: Ground) -> Loss:
    """The attacker has the API's host and its role in PostgreSQL, wants money at its own address; the bound is 0. Its
    API believes every signature, knows no scope and no limit, and so records what nobody asked for.
    """
    firm = found(ground, policy())
    honest = firm.declare("rosa")
    firm.promise("rosa", SMALL, honest)
    mine = firm.declare("mine", OWN[0], firm.stranger("beneficiaries"))
    firm.ask(mine, "mine", SMALL, firm.stranger("payouts"))
    firm.ask(honest, "again", SMALL, firm.stranger("payouts"))
    large = firm.ask(honest, "large", LARGE)
    request = firm.request_for(large)
    (ada,) = firm.assert_by(request, "ada")
    for login in ("ben", "cleo"):
        person = firm.passkey(login)
        forged = json.dumps(assertion_document(replace(ada, person=person.person, credential=person.credential)))
        ground.query(
            "api", "SELECT strongroom.approve($1, $2, $3, $4, 1)", hash_of(request), person.person,
            person.credential.hex(), forged,
        )
    firm.approve(request, ada)
    firm.rest()
    return Loss(takings(firm).beyond(firm.promised), firm.bound(Attacker.API))


NO_SIGNATURES = (
    Patch("api/gate.py", "if not holds(signature.base, signature.signature, key.public_key):", "if False:"),
)
NO_SCOPES = (Patch("api/gate.py", "if not allows(route.permission, key.sign_in, key.scopes):", "if False:"),)
NO_LIMITS = (
    Patch("domain/admission.py", "        full = _full_limit(meets, reference_minor, windows, now)", "        pass"),
)
NO_COOLING = (Patch("domain/admission.py", "    if subject.payable_from > now:\n", "    if False:\n"),)
UNSIGNED = IN_PROCESS["all_but_keys_to_own_address"].controls["requests needn't be signed"]

BROWSERS_OUT = Control(
    ("signer",), (Patch("signer/approvals.py", "    if browser_minor and released > ", "    if False and released > "),)
)

CASES: dict[str, Case] = {
    each.act.__name__: each for each in (
        Case(nothing_or_a_bearer_key, {
            "nobody verifies requests": Control(("signer", "api"), (*UNSIGNED, *NO_SIGNATURES)),
        }),
        Case(payout_key_to_own_address, {
            "any key may do anything": Control(
                ("signer", "api"),
                (*IN_PROCESS["payout_key_to_own_address"].controls["any key may do anything"], *NO_SCOPES),
            ),
        }),
        Case(payout_key_elsewhere, {"no limits": Control(("signer", "api"), (LIMITS_OUT, *NO_LIMITS))}),
        Case(payout_key_after_it_was_revoked, {
            "no revocation": Control(("signer",), IN_PROCESS["payout_key_elsewhere"].controls["no revocation"]),
        }),
        Case(both_keys_to_own_addresses, {
            "declared counts as old": Control(("signer", "api"), (
                *IN_PROCESS["both_keys_to_own_addresses"].controls["declared counts as old"], *NO_LIMITS,
            )),
        }),
        Case(both_keys_before_cooling_off, {
            "no cooling-off": Control(("signer", "api"), (
                *IN_PROCESS["both_keys_before_cooling_off"].controls["no cooling-off"], *NO_COOLING,
            )),
        }),
        Case(approver_alone, {
            "one person is enough": Control(("signer", "engine"), (
                Patch("signer/approvals.py", "    return len(people) >= tier.approvals and sum(place(person, set()) "
                      "for person in people) >= tier.groups", "    return len(people) >= 1"),
                Patch("engine/triage.py", "if request.people >= request.approvals:", "if request.people >= 1:"),
            )),
        }),
        Case(custodian_with_the_keys, {
            "custodians approve": Control(("signer", "api"), (
                *IN_PROCESS["custodian_with_the_keys"].controls["custodians approve"],
                Patch("api/approvals.py", '    if person in json.loads(found.request)["excluded"]:', "    if False:"),
            )),
        }),
        Case(stations_host, {
            "browsers release anything": BROWSERS_OUT,
        }),
        Case(
            api_host, {"the signer doesn't verify requests": Control(("signer",), UNSIGNED)},
            Control(("api",), (*NO_SIGNATURES, *NO_SCOPES, *NO_LIMITS)),
        ),
    )
}
