"""Attacks from the engine's seat on what frees a signed payout's money, and on the keys to which change goes.

Clients, people and the admin are honest; guard has a node of its own, which the attacker doesn't own. What a payee got
above what was promised, and what went to keys that aren't the newest, is counted in the raw blocks.
"""

import secrets
from base64 import b64encode
from contextlib import suppress
from typing import Any

from nacl.signing import SigningKey
from tests.adversary.attacks import BOOK
from tests.adversary.build import Patch
from tests.adversary.firm import Firm, found, now
from tests.adversary.ground import Ground
from tests.adversary.plunder import OWN, Case, Control, Loss, policy, takings, with_the_keys
from tests.adversary.records import TWICE
from tests.adversary.seat import Seat
from tests.adversary.takings import unsigned
from tests.faults.signer.recount import Bytes, address_hash
from tests.signer.world import AskRefused, payee

from strongroom.formats import simulated
from strongroom.protocol import guard_wire
from strongroom.protocol.signer_wire import Ask
from strongroom.sandbox.trusted import ask_signer

NETWORK = simulated.NETWORK
REQUESTS, DESK, NEGATIVE = "signer/requests.py", "signer/desk.py", "protocol/negative.py"


def engine_says_unpaid(ground: Ground) -> Loss:
    """The attacker has the engine's socket, its node and the database, and is one officer, wants payees paid twice; the
    bound is 0. Of one payout the signed bytes are kept back, and it is said that they can never be mined; the other's
    coins were taken by a chain transaction that this signer doesn't know of, which paid the payee.
    """
    firm = found(ground, policy())
    to = {name: firm.declare(name) for name in ("rosa", "otto", "vera")}
    payouts = {name: firm.promise(name, TWICE, each) for name, each in to.items()}
    seat = Seat(firm)
    seat.show()
    coins = dict(zip(payouts, seat.coins(), strict=False))
    for name, payout in payouts.items():
        assert seat.sign([payout], [(payee(name), TWICE)], coins=[coins[name]])
    attempts = {name: _name(signed) for name, signed in zip(payouts, seat.signed, strict=True)}
    _kept_back(seat, payouts["rosa"], attempts["rosa"], coins["rosa"])
    known = _paid_unknown(seat, "otto", coins["otto"])
    for payout, logins in ((payouts["otto"], ("cleo",)), (payouts["otto"], ("cleo", "cleo")),
                           (payouts["otto"], ("cleo", "ada")), (payouts["vera"], ("cleo", "dan"))):
        firm.release(payout, [attempts["vera"] if payout == payouts["vera"] else attempts["otto"]], *logins)
        _void(seat, payouts["otto"], known)
    for name in ("rosa", "otto"):
        ground.as_owner(("UPDATE strongroom.payouts SET state = 'failed', due_at = NULL WHERE id = $1", payouts[name]))
        again = firm.ask(to[name], f"again-{name}", TWICE, external_id=f"promise-{name}", replaces=payouts[name])
        seat.show()
        seat.sign([again], [(payee(name), TWICE)])
    seat.broadcast()
    return Loss(takings(firm).beyond(firm.promised), 0)


def _kept_back(seat: Seat, payout: str, attempt: str, coin: dict[str, Any]) -> None:
    """Nothing excludes its attempt: a signed cancel isn't mined, guard is asked about it, and attests something else.
    Two officers, who believe the engine's screen, release it as well.
    """
    outpoint = f"{coin['txid']}:{coin['index']}"
    assert seat.sign([], [], operation="cancel", coins=[coin])
    cancel = seat.signed.pop()
    assert seat.sign([], [], operation="consolidate", coins=[seat.coins()[-1]])
    other = seat.signed[-1]
    seat.ground.chain.post("/transactions", json={"signed": other.hex()}).raise_for_status()
    seat.ground.mine(3)
    said = [(name, height) for name in (_name(cancel), attempt, _name(other)) for height in range(_tip(seat) + 2)]
    frames = [frame for name, height in said if (frame := seat.attest(name, height)) is not None]
    frames += [_forged(seat, _name(cancel), outpoint), _forged(seat, "f" * 64, outpoint)]
    frames.append(frames[0][:64] + frames[-1][64:])
    seat.firm.release(payout, [attempt], "cleo", "dan")
    for frame in frames:
        _void(seat, payout, frame)
    _void(seat, payout, *frames)
    _void(seat, payout)


def _paid_unknown(seat: Seat, name: str, coin: dict[str, Any]) -> bytes:
    """A chain transaction that a signer has forgotten paid the payee with this coin; guard's word that it is final."""
    rest = int(coin["amount"]) - TWICE - 500
    raw, _ = seat.build([(payee(name), TWICE), (seat.firm.addresses[0], rest)], coins=[coin], change=0)
    signed = with_the_keys(seat.ground, seat.firm, raw, [coin])
    seat.ground.chain.post("/transactions", json={"signed": signed.hex()}).raise_for_status()
    seat.ground.mine(3)
    frames = (seat.attest(_name(signed), height) for height in range(_tip(seat), 0, -1))
    return next(each for each in frames if each is not None)


def _void(seat: Seat, payout: str, *frames: bytes) -> None:
    with suppress(AskRefused):
        seat.ask(Ask.VOID, object=payout, attestations=[[b64encode(each).decode()] for each in frames])


def _forged(seat: Seat, name: str, outpoint: str) -> bytes:
    seen = guard_wire.Attestation(now(), name, 9, NETWORK, (outpoint,))
    raw = guard_wire.encode_attestation(seen, seat.ground.document["deployment"])
    return guard_wire.sign_frame(SigningKey(secrets.token_bytes(32)), raw, guard_wire.ATTESTATION_TYPE)


def _name(signed: bytes) -> str:
    return Bytes.of(unsigned(signed)).id


def _tip(seat: Seat) -> int:
    return int(seat.ground.chain.get("/tip").json()["height"])


def engine_sends_change_to_other_keys(ground: Ground) -> Loss:
    """The attacker has the engine's socket and the keys of the first generation, wants change to go where it has the
    keys or where nobody looks; the bound is 0 once the keys were rotated. It asks what the admin may ask as well.
    """
    firm = found(ground, policy())
    payout = firm.promise("rosa", TWICE)
    seat = Seat(firm)
    seat.show()
    _rotate(firm, 1)
    began = len(ground.blocks())
    for ask, body in ((Ask.ROTATE, {"network": NETWORK, "generation": 2}), (Ask.ROTATE, {"network": NETWORK,
                      "generation": 1}), (Ask.RECOVER, {}), (Ask.ORGANISATION, {})):
        with suppress(AskRefused):
            seat.ask(ask, **body)
    others = [firm.addresses[0], firm.addresses[1], *_addresses(seat, 1, 1), *_addresses(seat, 1, 150),
              *_addresses(seat, 2, 0), *_addresses(seat, 7, 0), OWN[0]]
    for address in others:
        for operation, payouts, outputs in (
            ("consolidate", [], []), ("cancel", [], []), ("pay", [payout], [(payee("rosa"), TWICE)]),
        ):
            coin = seat.coins()[0]
            rest = int(coin["amount"]) - sum(minor for _, minor in outputs) - 500
            seat.sign(payouts, [*outputs, (address, rest)], operation=operation, coins=[coin], change=0)
    (newest,), coin = _addresses(seat, 1, 0), seat.coins()[0]
    seat.sign([], [(newest, int(coin["amount"]) - 500)], operation="consolidate", coins=[coin], change=0)
    seat.broadcast()
    made = [Bytes.of(unsigned(raw)) for block in ground.blocks()[began:] for raw in block]
    got = {each: _paid_to(made, each) for each in (newest, *others)}
    assert any(got.values())
    return Loss(sum(got[each] for each in others), 0)


def _paid_to(made: list[Bytes], address: str) -> int:
    return sum(amount for each in made for to, amount in each.outputs if to == address_hash(address))


def _rotate(firm: Firm, generation: int) -> None:
    body: Any = {"network": NETWORK, "generation": generation, "organisation": firm.id}
    assert ask_signer(firm.ground.admin_socket, Ask.ROTATE, body) == {"generation": generation}


def _addresses(seat: Seat, generation: int, index: int) -> list[str]:
    answer = seat.ask(Ask.ADDRESSES, network=NETWORK, generation=generation, first=index, count=1)
    return [str(each) for each in answer["addresses"]]


CASES = {
    each.act.__name__: each for each in (
        Case(engine_says_unpaid, {
            "anybody attests": Control(("signer",), (
                Patch("protocol/guard_wire.py", "read_record(open_frame(public_key, frame, ATTESTATION_TYPE), "
                      "ATTESTATION_TYPE)", "read_record(frame[_SIGNATURE_LENGTH:], ATTESTATION_TYPE)"),
            )),
            "anything final excludes": Control(("signer",), (
                Patch(REQUESTS, " and excludes(payments, each, attempt, payout)]", "]"),
            )),
            "what this signer doesn't know needs nobody": Control(("signer",), (
                Patch(REQUESTS, "by is not None and by.operation != Operation.SWEEP",
                      "by is None or by.operation != Operation.SWEEP"),
            )),
            "one officer releases": Control(("signer", "guard"), (
                Patch(NEGATIVE, "if negative.action in (Action.UNFREEZE, Action.RELEASE) and",
                      "if negative.action is Action.UNFREEZE and"),
            )),
            "a release is of any payout": Control(("signer",), (
                Patch(REQUESTS, "payments.standing.released.get(payout) != sorted(attempts):",
                      "not payments.standing.released:"),
            )),
        }),
        Case(engine_sends_change_to_other_keys, {
            "change goes to the first generation for ever": Control(("signer",), (
                Patch(BOOK, "return len(self.former.get(network, ()))", "return 0"),
            )),
            "change goes anywhere": Control(("signer",), (
                Patch("signer/gate.py", "if address != wallet.address(asked.organisation, generation, "
                      "change_next + place_in_rest):", "if False:"),
            )),
            "the engine may ask what the admin may": Control(("signer",), (
                Patch(DESK, " - {Ask.ORGANISATION, Ask.ROTATE, Ask.RECOVER}", ""),
            )),
        }),
    )
}
