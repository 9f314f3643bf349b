"""What miners do, what guard sees of it, and what the machine makes of that: void proofs, releases, payments in place.

An honest engine's whole road to free a payout is here as well, and at each step something else may come in between.
"""

from base64 import b64encode
from contextlib import suppress

from tests.adversary.asking import ask_again
from tests.adversary.machine import Coin, Machine, Payable
from tests.adversary.paying import fresh, pay_for
from tests.adversary.rail import read
from tests.signer.world import ADA, BEN, CLEO, DAN, ORGANISATION, AskRefused, Human, payee

from strongroom.domain.document import DocumentError
from strongroom.formats import simulated
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import Ask

BLOCKS_MAXIMUM = 3
NEWEST = 60


def mine(machine: Machine) -> None:
    """A few blocks, each with one of the newest that can follow, or with nothing."""
    for _ in range(machine.chance.randint(1, BLOCKS_MAXIMUM)):
        pending = [name for name in list(machine.signed)[-NEWEST:] if machine.is_pending(name)]
        chosen = machine.chance.sample(pending, min(1, len(pending))) if machine.chance.random() < 0.8 else []
        _mine(machine, *chosen)


def go_back(machine: Machine) -> None:
    machine.rail.go_back(machine.chance.randint(1, BLOCKS_MAXIMUM))
    machine.moves["reorg"] += 1


def attest(machine: Machine) -> None:
    """Of what was signed, where it stands or elsewhere; the engine keeps it for later."""
    if machine.signed:
        _attest(machine, machine.pick(list(machine.signed)), machine.chance.choice((0, 0, 0, 1, -1)))


def void(machine: Machine) -> None:
    """With what guard attested of whatever there was, or something that it never said."""
    stuck = [each for each in machine.payables if _coins_left(machine, each)]
    payable = machine.pick(stuck if stuck and machine.chance.random() < 0.7 else machine.payables)
    recent = machine.attestations[-4:] if machine.chance.random() < 0.7 else machine.attestations
    frames = [machine.pick(recent) for _ in range(min(2, len(recent)))]
    if frames and machine.chance.random() < 0.2:
        frames[0] = machine.flipped(frames[0])
    _void(machine, payable, frames)


def release(machine: Machine) -> None:
    payable = machine.pick([each for each in machine.payables if each.payout in machine.used] or machine.payables)
    _release(machine, payable, machine.chance.choice(((CLEO, DAN), (CLEO,), (ADA, BEN), (CLEO, CLEO))))


def free(machine: Machine) -> None:
    """As an honest engine does it: call back, see it final, void, have it asked for anew, pay that."""
    stuck = [(each, coins) for each in machine.payables if (coins := _coins_left(machine, each))]
    if not stuck:
        return
    chance = machine.chance
    often = [each for each in stuck if len(machine.checks.signed_of[each[0].payout]) > 1]
    payable, coins = machine.pick(often if often and chance.random() < 0.5 else stuck)
    how = chance.choice(("cancel", "cancel", "sweep", "sweep", "theft"))
    machine.moves[f"free: {how}"] += 1
    coin = chance.choice(coins)
    name = _theft(machine, coin) if how == "theft" else machine.sign([], how, coins=[coin])
    if chance.random() < 0.2:  # the miners were faster
        mine(machine)
    if machine.is_pending(name):
        _mine(machine, name)
    for _ in range(machine.rail.finality_blocks - chance.choice((1, 1, 1, 1, 2))):
        _mine(machine)
    if not _attest(machine, name):
        return
    if how != "cancel":
        _release(machine, payable, chance.choice(((CLEO, DAN), (CLEO, DAN), (CLEO,), ())))
        machine.siege.desk.idle()
    if chance.random() < 0.15:  # another attempt comes in between
        pay_for(machine, payable)
    _void(machine, payable, machine.attestations[-chance.randint(1, 3) :])
    if chance.random() < 0.5:
        with suppress(AskRefused):
            pay_for(machine, payable)
    again = ask_again(machine, payable)
    pay_for(machine, again)
    machine.moves["paid in place of a void one"] += 1


def free_by_half(machine: Machine) -> None:
    """What two attempts share stays, and what only the first spends is taken: the second can still be mined."""
    payable = fresh(machine)
    both, first_only = (machine.fresh_coin(payable.promise.minor + 1_000) for _ in range(2))
    pay_for(machine, payable, [both, first_only])
    pay_for(machine, payable, [both])
    name = machine.sign([], "cancel", coins=[first_only])
    if machine.is_pending(name):
        _mine(machine, name)
    for _ in range(machine.rail.finality_blocks - 1):
        _mine(machine)
    if _attest(machine, name):
        machine.moves["freed by half"] += 1
        _void(machine, payable, machine.attestations[-1:])


def _coins_left(machine: Machine, payable: Payable) -> list[Coin]:
    """What could be taken from all of its attempts on the chain, or from the first alone; nothing if it is over."""
    attempts = machine.checks.signed_of.get(payable.payout, ())
    is_over = payable.payout in machine.checks.over or payable.promise.era != machine.clients.era
    if not attempts or is_over or any(name in machine.rail.heights for name in attempts):
        return []
    inputs = [read(machine.signed[name])[0].inputs for name in attempts]
    left = [coin for coin in inputs[0] if machine.rail.has(coin, machine.signed)]
    common = [coin for coin in left if all(coin in each for each in inputs[1:])]
    return [each for each in machine.coins if each[0] in (common or left)]


def _theft(machine: Machine, coin: Coin) -> str:
    """Somebody has a copy of the wallet's key, and takes this coin: what was to be paid with it isn't paid."""
    outputs = (simulated.Output(coin[0].amount - 300, payee("a thief")),)
    raw = simulated.encode_unsigned(simulated.Transaction((coin[0],), outputs))
    signed = machine.siege.wallet.sign(ORGANISATION, raw, [coin[1]])
    name = read(signed)[1]
    machine.signed[name] = signed
    machine.checks.stolen.add(name)
    return name


def _mine(machine: Machine, *names: str) -> None:
    machine.rail.mine([machine.signed[name] for name in names])
    machine.moves["mined"] += len(names)


def _attest(machine: Machine, name: str, beside: int = 0) -> bool:
    height = machine.rail.heights.get(name, len(machine.rail.blocks) - 1) + beside
    try:
        frame = machine.rail.attested(machine.siege.guard.guard.eyes, name, max(1, height))
    except DocumentError:
        machine.moves["guard attests nothing"] += 1
        return False
    machine.attestations.append(frame)
    machine.moves["guard attests"] += 1
    machine.checks.attested(name, machine.rail)
    return True


def _void(machine: Machine, payable: Payable, frames: list[bytes]) -> None:
    machine.ask(Ask.VOID, object=payable.payout, attestations=[[b64encode(each).decode()] for each in frames])


def _release(machine: Machine, payable: Payable, people: tuple[Human, ...]) -> None:
    """Of all its attempts, or of some of them."""
    attempts = list(machine.siege.payments.attempts_of.get(payable.payout, ()))
    if machine.chance.random() < 0.1:
        attempts = attempts[:-1]
    said = {"attempts": tuple(attempts), "reason": "the money is not with the payee"}
    if machine.siege.guard.try_instruct(Action.RELEASE, payable.payout, *people, **said):
        machine.moves["released"] += 1
        machine.checks.released(payable.payout, attempts, {each.id for each in people})


