"""Attacks by those who sit at the signer's socket, own guard's host or the signer's, or have it all but the keys.

The engine is ended, and its seat taken. Clients and people stay honest and use the real API and guard's listener; what
they asked for is theirs, and everything else that leaves is loss, counted in the raw blocks.
"""

import hashlib
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Any

from tests.adversary.attacks import CASES as IN_PROCESS
from tests.adversary.attacks import LIMITS_OUT, ONCE_OUT, QUORUM_OUT, budgets
from tests.adversary.build import Patch
from tests.adversary.firm import Firm, found
from tests.adversary.ground import Ground
from tests.adversary.liar import Liar, head
from tests.adversary.outside import BROWSERS_OUT, NO_LIMITS, NO_SCOPES, NO_SIGNATURES
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
    with_the_keys,
)
from tests.adversary.records import OUTPUTS_OUT, TWICE
from tests.adversary.seat import Coin, Seat
from tests.signer.world import AskRefused, limit, payee, policy_document

from strongroom.advice.bound import Attacker
from strongroom.domain.document import Fields
from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import DAY_MS
from strongroom.domain.policy import POLICY_TYPE
from strongroom.formats import simulated
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.destination_record import destination_digest
from strongroom.protocol.identifier import beneficiary_id
from strongroom.protocol.intent import read_beneficiary
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import Ask

WIDE = {"limits": budgets(B=10**9, K=10**9, D=10**9)["limits"]}


def officer_alone(ground: Ground) -> Loss:
    """The attacker is one officer, who sits at the engine's socket as well, wants a policy that asks nobody, and a
    freeze undone; the bound is 0.
    """
    firm = found(ground, policy(governance={"group": "officers", "delay_ms": 0}, **WITH_PEOPLE))
    payout = firm.ask(firm.declare("large"), "large", LARGE)
    seat = Seat(firm)
    seat.show()
    before = seat.ask(Ask.STATUS)["organisations"][firm.id]["policy"]
    open_to_all = encode(policy_document(**{
        **policy(**WITH_PEOPLE), "organisation": firm.id, "version": 2, "previous": before,
        "tiers": [{"up_to_reference_minor": "25000000", "approvals": 0, "groups": 0}],
        "governance": {"group": "officers", "delay_ms": 0}, "limits": [limit("B", "organisation", "unattended", 10**9)],
    }))
    for logins in (("cleo",), ("cleo", "cleo"), ("cleo", "ada")):
        given = [assertion_document(firm.passkey(login).asserts(open_to_all, POLICY_TYPE)) for login in logins]
        with suppress(AskRefused):
            seat.ask(Ask.CHANGE, document="policy", raw=b64encode(open_to_all).decode(), assertions=list(given))
    seat.sign([payout], [(payee("large"), LARGE)])
    assert firm.instruct(Action.FREEZE, "organisation", "cleo").status_code == 202
    for logins in (("cleo",), ("cleo", "cleo"), ("cleo", "ada")):
        assert firm.instruct(Action.UNFREEZE, "organisation", *logins, epoch=1).status_code in (202, 409)
    seat.sign([payout], [(payee("large"), LARGE)])
    seat.broadcast()
    return Loss(takings(firm).elsewhere, firm.bound(Attacker.PERSON))


def _asked_by(seat: Seat, login: str, address: str, minor: int, key: str) -> str:
    """A destination that this person names, and a payout to it; its id, or that of nothing if it is refused."""
    firm = seat.firm
    person = firm.passkey(login).person
    body: dict[str, Any] = {"name": "Me", "destination": {"network": simulated.NETWORK, "address": address}}
    named = firm.intent(login, "/v1/beneficiaries", body, key)
    beneficiary = beneficiary_id(firm.id, person, IdempotencyKey(key))
    digest = destination_digest(read_beneficiary(Fields(body), firm.id, beneficiary).encode())
    asked = firm.intent(login, "/v1/payouts", {
        "beneficiary": beneficiary, "destination_digest": digest, "asset": simulated.ASSET, "amount": str(minor),
        "external_id": key,
    }, key)
    seat.ask(Ask.DESTINATIONS, evidence=[named.document()])
    (row,) = seat.ask(Ask.INTENTS, evidence=[asked.document()])
    return str(row.get("payout", ""))


def operator_alone(ground: Ground) -> Loss:
    """The attacker is one person who may ask and approve, with the engine's socket, wants money at its own address;
    the bound is 0, however little a payout is worth.
    """
    firm = found(ground, policy(), operators=("ada",))
    seat = Seat(firm)
    payout = _asked_by(seat, "ada", OWN[0], TWICE, "own")
    seat.sign([payout], [(OWN[0], TWICE)])
    with suppress(AskRefused, KeyError):  # no request is made if nobody is needed
        request = seat.request(payout)
        for logins in (("ada",), ("ada", "ada")):
            approval = seat.approval(payout, request, firm.assert_by(request, *logins))
            seat.sign([payout], [(OWN[0], TWICE)], approvals=[approval])
    seat.broadcast()
    return Loss(takings(firm).to(OWN), firm.bound(Attacker.PERSON))


def station_that_misleads_everybody(ground: Ground) -> Loss:
    """The attacker has the station's host, where everybody asserts whatever it likes, and the engine's socket to bring
    it to; wants all at its own addresses. The bound is what browser credentials alone may release in a day: a policy
    that the officers are misled into as well waits out its delay.
    """
    slow = {"group": "officers", "delay_ms": DAY_MS}
    capped = policy(governance=slow, browser_release_reference_minor=str(3 * MIDDLE), **WIDE)
    firm = found(ground, capped, operators=("ada",))
    seat = Seat(firm)
    _mislead(seat, policy(governance=slow, **WITH_PEOPLE))
    for number, address in enumerate(OWN):
        minor = MIDDLE if number < 5 else TWICE
        payout = _asked_by(seat, "ada", address, minor, f"own-{number}")
        request = seat.request(payout)
        approval = seat.approval(payout, request, firm.assert_by(request, "ada", "ben"))
        seat.sign([payout], [(address, minor)], approvals=[approval])
    seat.broadcast()
    return Loss(takings(firm).to(OWN), firm.bound(Attacker.STATION))


def _mislead(seat: Seat, document: dict[str, Any]) -> None:
    """The officers sign this policy."""
    firm = seat.firm
    before = seat.ask(Ask.STATUS)["organisations"][firm.id]["policy"]
    raw = encode(policy_document(**{**document, "organisation": firm.id, "version": 2, "previous": before}))
    given = [assertion_document(firm.passkey(login).asserts(raw, POLICY_TYPE)) for login in ("cleo", "dan")]
    seat.ask(Ask.CHANGE, document="policy", raw=b64encode(raw).decode(), assertions=list(given))


def engine_to_own_address(ground: Ground) -> Loss:
    """The attacker has the engine's socket, its role and a node, wants money at its own address or payees paid twice;
    the bound is 0 beside fees. It bends every output, operation, coin and item that it can name.
    """
    firm, other = found(ground, policy(sweep_fee_budget_reference_minor="5000", **WIDE)), found(ground, policy())
    small, large = firm.promise("small", TWICE), firm.promise("large", LARGE)
    run = _promised_run(firm)
    seat = Seat(firm)
    seat.show()
    _bend(seat, small, payee("small"))
    _bend_operations(seat, Seat(other))
    seat.sign([], [(payee("run-0"), 9_000)], items=[_raised(run[0])])
    request = seat.request(large)
    approval = seat.approval(large, request, firm.assert_by(request, "ada", "ben"))
    for _ in range(3):  # each time with other coins
        seat.sign([small], [(payee("small"), TWICE)])
        seat.sign([large], [(payee("large"), LARGE)], approvals=[approval])
        seat.sign([], [(payee("run-0"), 3_000), (payee("run-1"), 3_000)], items=run)
    late = firm.ask(firm.declare("late"), "late", LARGE)
    seat.show()
    with suppress(AskRefused):
        seat.request(late)
    seat.sign([late], [(payee("late"), LARGE)], approvals=[{**approval, "subject": late}])
    seat.broadcast()
    return Loss(takings(firm).beyond(firm.promised) + takings(other).elsewhere, 0)


def _promised_run(firm: Firm) -> list[Any]:
    """An honest run of two; its items as the signer takes them."""
    keys = ("run-0", "run-1")
    items = [
        {"beneficiary": to["id"], "destination_digest": to["destination"]["digest"], "asset": simulated.ASSET,
         "amount": "3000", "external_id": key, "idempotency_key": key}
        for key, to in ((key, firm.declare(key)) for key in keys)
    ]
    made = firm.client("payouts").runs.create(items, idempotency_key="run")
    firm.promised |= {payee(key): 3_000 for key in keys}
    rows = firm.ground.query(
        "engine", "SELECT leaf FROM strongroom.run_items WHERE run = $1 ORDER BY run_index", made["id"]
    )
    leaves = [row["leaf"] for row in rows]
    hashes = [hashlib.sha256(b"\0" + leaf).hexdigest() for leaf in leaves]
    return [
        {"leaf": b64encode(leaf).decode(), "proof": [[hashes[1 - at]]], "run": made["id"]}
        for at, leaf in enumerate(leaves)
    ]


def _raised(item: Any) -> dict[str, object]:
    """An item that says three times as much, with the proof of the true one."""
    leaf = b64decode(item["leaf"]).replace(b'"amount":"3000"', b'"amount":"9000"')
    return {**item, "leaf": b64encode(leaf).decode()}


def _bend(seat: Seat, payout: str, address: str) -> None:
    """An honest payout, with outputs that nobody asked for."""
    for outputs in (
        [(OWN[0], TWICE)], [(address, TWICE), (OWN[0], 5_000)], [(OWN[0], 5_000), (address, TWICE)],
        [(address, TWICE - 1_000), (OWN[0], 1_000)], [(address, TWICE + 1)], [(address, TWICE), (address, TWICE)],
    ):
        for operation in ("pay", "bump"):
            seat.sign([payout], outputs, operation=operation)
            seat.sign([payout], outputs, operation=operation, change=0)
    seat.sign([payout, payout], [(address, TWICE), (address, TWICE)])


def _bend_operations(seat: Seat, other: Seat) -> None:
    """Everything that needs no payout, to the attacker; others' coins; and what isn't an operation."""
    for operation in ("sweep", "cancel", "consolidate", "rotate", "raw", "pay"):
        with suppress(AskRefused):
            seat.sign([], [(OWN[1], 50_000)], operation=operation, change=0)
            seat.sign([], [(OWN[1], 50_000)], operation=operation)
    for coins in (other.coins()[:1], [*other.coins()[:1], *seat.coins()[:1]]):
        seat.sign([], [(OWN[2], 50_000)], operation="consolidate", coins=coins, paths=[(0, 0)] * len(coins))
    for frame in (b'{"type":"strongroom/ask/hash/v1"}', b'{"digest":"00"}', b"\0" * 64):
        assert b'"refused"' in seat.exchange(frame)


def engine_burns_fees(ground: Ground) -> Loss:
    """The attacker has the engine's socket and a miner, wants fees; the bound is F in a day, whatever it signs."""
    firm = found(ground, policy())
    payout = firm.promise("small", TWICE)
    seat = Seat(firm)
    seat.show()
    for fee in (9_000_000, 40_000, 4_000):
        seat.sign([payout], [(payee("small"), TWICE)], fee=fee)
        for operation in ("consolidate", "cancel", "sweep"):
            seat.sign([], [], operation=operation, fee=fee)
    for _ in range(12):
        seat.sign([], [], operation="consolidate", fee=3_000)
    seat.broadcast()
    return Loss(takings(firm).fees, firm.bound(Attacker.ENGINE))


def engine_sweeps_for_the_fees(ground: Ground) -> Loss:
    """The attacker has the engine's socket and a miner, wants fees, by sweeps to the treasury as well; the bound is F
    and the budget of sweeps in a day. What arrives at the treasury is no loss.
    """
    wallets = [{**policy_document()["wallets"][0], "treasury": payee("treasury")}]
    firm = found(ground, policy(wallets=wallets, sweep_fee_budget_reference_minor="5000"))
    seat = Seat(firm)
    for _ in range(8):
        seat.sign([], [], operation="consolidate", fee=3_000)
    for fee in (45_000, 9_000, 4_900):
        _sweep(seat, seat.coins(), fee)
    for _ in range(6):
        _sweep(seat, seat.coins()[:1], 3_800)
    seat.broadcast()
    count = takings(firm)
    return Loss(count.fees + count.beyond({payee("treasury"): count.funded}), firm.bound(Attacker.ENGINE))


def _sweep(seat: Seat, coins: list[Coin], fee: int) -> None:
    held = sum(int(each["amount"]) for each in coins)
    if held > fee:
        seat.sign([], [(payee("treasury"), held - fee)], operation="sweep", coins=coins, change=0)


def engine_pays_what_was_stopped(ground: Ground) -> Loss:
    """The attacker has the engine's socket and every message, wants paid what people stopped at guard; the bound is 0.
    One payout is cancelled, one declined, and a third is asked for while all is frozen.
    """
    firm = found(ground, policy())
    payouts = {name: firm.ask(firm.declare(name), name, TWICE) for name in ("one", "two", "three")}
    seat = Seat(firm)
    seat.show()
    assert firm.instruct(Action.CANCEL, payouts["one"], "cleo").status_code == 202
    assert firm.instruct(Action.DECLINE, payouts["two"], "ada").status_code == 202
    assert firm.instruct(Action.FREEZE, "organisation", "dan").status_code == 202
    for _ in range(2):
        for name, payout in payouts.items():
            seat.sign([payout], [(payee(name), TWICE)])
        ground.restart("signer")
        seat.again()
    seat.broadcast()
    return Loss(takings(firm).elsewhere, 0)


def _everything(ground: Ground, firm: Firm) -> Seat:
    """The API records what nobody signed, the owner of the record rewrites it, the node lies, and the seat is taken."""
    honest = firm.declare("rosa")
    payout = firm.promise("rosa", TWICE, honest)
    mine = firm.declare("mine", OWN[3], firm.stranger("beneficiaries"))
    forged = firm.ask(mine, "mine", SMALL, firm.stranger("payouts"))
    seat = Seat(firm)
    seat.show()
    _bend(seat, payout, payee("rosa"))
    seat.sign([forged], [(OWN[3], SMALL)])
    ground.as_owner(
        ("UPDATE strongroom.evidence SET body = convert_to(replace(convert_from(body, 'UTF8'), $2, $3), 'UTF8') "
         "WHERE organisation = $1", firm.id, payee("rosa"), OWN[3]),
        ("UPDATE strongroom.rosters SET document = convert_to(replace(convert_from(document, 'UTF8'), "
         "'\"threshold\":2', '\"threshold\":1'), 'UTF8') WHERE organisation = $1", firm.id),
    )
    seat.show()
    seat.sign([payout], [(OWN[3], TWICE)])
    for _ in range(2):
        seat.sign([payout], [(payee("rosa"), TWICE)])
    rich = [{**seat.coins()[0], "amount": str(10**12)}]  # the node says that there is more in it
    seat.sign([], [(OWN[3], 10**11)], operation="consolidate", coins=rich)
    return seat


def all_three(ground: Ground) -> Loss:
    """The attacker has API, database, engine and nodes, wants all that there is, fees too; the bound is F."""
    firm = found(ground, policy())
    seat = _everything(ground, firm)
    for _ in range(12):
        seat.sign([], [], operation="consolidate", fee=3_000)
    seat.broadcast()
    found_by_count = takings(firm)
    return Loss(found_by_count.beyond(firm.promised) + found_by_count.fees, firm.bound(Attacker.ALL_THREE))


def all_three_and_a_payout_key(ground: Ground) -> Loss:
    """The attacker has API, database, engine, nodes and a client's payout key, wants all that there is; the bound is
    F and what the key gives, min(K, B).
    """
    firm = found(ground, policy(limits=budgets(D=10**9)["limits"]))
    known = [firm.declare(f"known-{number}") for number in range(6)]
    seat = _everything(ground, firm)
    asked = [firm.ask(to, f"stolen-{number}", SMALL) for number, to in enumerate(known)]
    seat.show()
    for number, payout in enumerate(asked):
        seat.sign([payout], [(payee(f"known-{number}"), SMALL)])
    for _ in range(12):
        seat.sign([], [], operation="consolidate", fee=3_000)
    seat.broadcast()
    found_by_count = takings(firm)
    bound = firm.bound(Attacker.ALL_THREE) + firm.bound(Attacker.PAYOUT_KEY, elsewhere=True)
    return Loss(found_by_count.beyond(firm.promised) + found_by_count.fees, bound)


# Guard's host, and the signer's.


def guards_host_undoes_a_freeze(ground: Ground) -> Loss:
    """The attacker has guard's host with its key and store, and the engine's socket, wants paid what a freeze stopped;
    the bound is 0. It says yes to everything, adds an unfreeze of its own, cuts its log and replays.
    """
    firm = found(ground, policy())
    payout = firm.ask(firm.declare("frozen"), "frozen", TWICE)
    seat = Seat(firm)
    seat.show()
    assert firm.instruct(Action.FREEZE, "organisation", "cleo").status_code == 202
    assert not seat.sign([payout], [(payee("frozen"), TWICE)])
    with ground.rolled_back(), Liar(ground) as liar:
        seat.again()
        for logins in ((), ("cleo",), ("cleo", "cleo"), ("cleo", "ada")):
            liar.instruct(firm, Action.UNFREEZE, *logins, epoch=1)
            seat.sign([payout], [(payee("frozen"), TWICE)])
        for length in (0, len(liar.control) - 1, len(liar.control)):
            liar.shown = length
            seat.sign([payout], [(payee("frozen"), TWICE)])
        liar.shown = None
        liar.replays = True
        seat.sign([payout], [(payee("frozen"), TWICE)])
    seat.broadcast()
    return Loss(takings(firm).elsewhere, firm.bound(Attacker.GUARD))


def guards_host_hides_the_journal(ground: Ground) -> Loss:
    """The attacker has guard's host with its key and store, and the engine's socket, wants payees paid twice; the bound
    is 0. The signer starts before a guard that has heard of no payment, and is then agreed with in everything.
    """
    firm = found(ground, policy())
    names = ("rosa", "otto")
    payouts = {name: firm.promise(name, TWICE) for name in names}
    seat = Seat(firm)
    seat.show()
    before = head(ground.guard.get("/v1/status").json()["journal"])
    for name, payout in payouts.items():
        assert seat.sign([payout], [(payee(name), TWICE)])
    with ground.rolled_back(), Liar(ground) as liar:
        liar.journal = before
        ground.stop("signer")
        answered = liar.answered
        ground.child("signer").start()
        ground.eventually(lambda: liar.answered > answered, "the signer asks guard at its start")
        liar.journal = None
        ground.start("signer")
        seat.again()
        for name, payout in payouts.items():
            seat.sign([payout], [(payee(name), TWICE)])
    seat.broadcast()
    return Loss(takings(firm).beyond(firm.promised), firm.bound(Attacker.GUARD))


def signers_host(ground: Ground) -> Loss:
    """The attacker has the signer's host and so its keys, wants what they sign for; the bound is H, all that the hot
    wallet holds. It gets it: nothing but a small wallet bounds this one, and watch's alarm is too late.
    """
    firm = found(ground, policy())
    seat = Seat(firm)
    coins = seat.coins()
    raw, _ = seat.build([(OWN[0], sum(int(each["amount"]) for each in coins) - 5_000)], coins=coins, change=0)
    seat.signed.append(with_the_keys(ground, firm, raw, coins))
    seat.broadcast()
    count = takings(firm)
    assert count.to(OWN) == count.funded - 5_000
    return Loss(count.elsewhere + count.fees, count.funded)


ONCE = Control(("signer",), (ONCE_OUT,))
HOSTILE = Control(("api",), (*NO_SIGNATURES, *NO_SCOPES, *NO_LIMITS))

CASES = {
    each.act.__name__: each for each in (
        Case(officer_alone, {"no quorum for a change": Control(("signer",), (QUORUM_OUT,))}),
        Case(operator_alone, {
            "people need nobody": Control(
                ("signer",), IN_PROCESS["operator_alone"].controls["people need nobody"]
            ),
            "the maker approves": Control(
                ("signer",), IN_PROCESS["operator_alone"].controls["the maker approves"]
            ),
        }),
        Case(station_that_misleads_everybody, {
            "browsers release anything": BROWSERS_OUT,
            "a change has no delay": Control(("signer",), (
                Patch("signer/changes.py", "clock.at_least - pending.noticed < delay_ms", "False"),
            )),
        }),
        Case(engine_to_own_address, {
            "outputs aren't compared": Control(("signer",), (OUTPUTS_OUT,)),
            "attempts needn't exclude each other": ONCE,
            **{what: Control(("signer",), IN_PROCESS["all_but_keys_to_own_address"].controls[what]) for what in (
                "change goes anywhere", "a sweep goes anywhere", "items needn't be in the run",
                "approvals are of any request",
            )},
        }),
        Case(engine_burns_fees, {
            what: Control(("signer",), patches) for what, patches in IN_PROCESS["engine_burns_fees"].controls.items()
        }),
        Case(engine_sweeps_for_the_fees, {
            what: Control(("signer",), patches)
            for what, patches in IN_PROCESS["engine_sweeps_for_the_fees"].controls.items()
        }),
        Case(engine_pays_what_was_stopped, {
            "freezes aren't asked for": Control(
                ("signer",), IN_PROCESS["engine_pays_while_frozen"].controls["freezes aren't asked for"]
            ),
        }),
        Case(all_three, {
            "the signer doesn't verify requests": Control(
                ("signer",), IN_PROCESS["all_but_keys_to_own_address"].controls["requests needn't be signed"]
            ),
            "outputs aren't compared": Control(("signer",), (OUTPUTS_OUT,)),
        }, HOSTILE),
        Case(all_three_and_a_payout_key, {"no limits": Control(("signer",), (LIMITS_OUT,))}, HOSTILE),
        Case(guards_host_undoes_a_freeze, {"no quorum for an unfreeze": Control(("signer",), (QUORUM_OUT,))}),
        Case(guards_host_hides_the_journal, {"attempts needn't exclude each other": ONCE}),
    )
}
