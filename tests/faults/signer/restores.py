"""Disks that come back older than they were, or not at all: what an operator does, and what must be true then."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nacl.signing import SigningKey
from tests.cli.command import command
from tests.faults.signer.engine import Engine
from tests.faults.signer.ground import Ground
from tests.faults.signer.recount import BrokenError, Chain
from tests.faults.signer.shop import EndedError, Payout
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID
from tests.protocol.recovering import new_client
from tests.signer.world import ORGANISATION, AskRefused, Human, payee

from strongroom.cli.output import Exit
from strongroom.domain.document import Fields
from strongroom.domain.ids import ClientId, IdempotencyKey, KeyId
from strongroom.formats import simulated
from strongroom.protocol.destination_record import DestinationRecord
from strongroom.protocol.genesis import Mode
from strongroom.protocol.identifier import beneficiary_id, payout_id
from strongroom.protocol.intent import read_beneficiary
from strongroom.protocol.roster import parse_roster
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.standing import policy_hash
from strongroom.signer.desk import ENGINE

Caller = tuple[ClientId, KeyId, SigningKey]
ACTS = ("ask", "pay", "pay", "pay", "declare", "bump", "run", "request", "cancel", "freeze", "pay again")


class Restored(Engine):
    """An engine whose signer or guard lose their disks."""

    def work(self, count: int) -> None:
        """In peace; the last acts may be known to the signer alone."""
        for _ in range(count):
            with suppress(AskRefused):
                self.act(self.chance.choice(ACTS))

    def save_signer(self) -> bytes:
        return (self.folder / "journal").read_bytes()

    def save_guard(self) -> None:
        shutil.rmtree(self.place / "backup", ignore_errors=True)
        shutil.copytree(self.place / "store", self.place / "backup")

    def restore_guard(self, *, with_marker: bool = True) -> None:
        """Guard's folder as it was saved; its marker is in no backup, and may be lost."""
        self.guard_child.kill()
        shutil.rmtree(self.place / "store")
        shutil.copytree(self.place / "backup", self.place / "store")
        (self.place / "store").chmod(0o700)
        if not with_marker:
            (self.place / "marker").write_bytes(b"")

    def end_signer(self, saved: bytes) -> None:
        self.signer.kill()
        self.restore_signer(saved)

    def reconcile(self) -> None:
        """Guard's operator has it take the signer's journal, while the signer runs; until guard ends by itself."""
        self.guard_child.kill()
        self.begin_guard(reconciles=True)
        for _ in range(5):
            if not self.guard_child.ends_within(0.05):
                with suppress(AskRefused, EndedError):
                    self.sync()
        if not self.guard_child.ends_within(10):
            raise BrokenError(f"guard doesn't come to an end of reconciling: {self.logs()}")

    def asked_again(self) -> int:
        """What only the signer had heard is asked again, and acknowledged again; how much it was."""
        self.recount.read_copy()
        lost = self.acknowledged.keys() - self.recount.kept
        if any(kind == "signed" for kind, _ in lost):
            raise BrokenError("something was signed that guard hasn't")
        for key in lost:
            asked = self.acknowledged.pop(key)
            if asked is not None and key[0] != "request":  # a new request has a new ticket
                self.send(*asked)
                if key not in self.acknowledged:
                    raise BrokenError(f"{key} was asked for again and isn't the same")
        self.sync()
        return len(lost)

    def signs_nothing(self) -> None:
        """What was signed once and what is new, while the two aren't reconciled. Raises: BrokenError."""
        self.beat()
        for _ in range(2):  # over a new connection, and with all that can be told
            with suppress(AskRefused):
                self.sync()
        before = (self.place / "signing").read_bytes()
        asks: list[Callable[[], object]] = [
            partial(self.send, ENGINE, frame) for frame, _ in list(self.signatures.values())[:3]
        ]
        for payout in list(self.open.values())[:3]:
            asks.append(partial(self.sign_payouts, "pay", [payout], [(self.coin(50_000), 0)], 500))
        for ask in asks:
            try:
                ask()
            except AskRefused:
                continue
            raise BrokenError("something was signed that guard didn't agree to")
        if (self.place / "signing").read_bytes() != before:
            raise BrokenError("something was signed that guard didn't agree to")

    def still_holds(self) -> None:
        """After healing: all is there, the same bytes get the same signature, and nothing is paid twice."""
        self.look()
        self.unfreeze()
        self.pass_by(90_000_000)
        self.sign_again()
        self.pay_twice()
        self.look()


def restored(made: Ground, name: str, seed: int, ports: tuple[int, int]) -> Restored:
    shop = Restored(made.root, name, made.nursery, ports, random.Random(seed))
    shop.begin()
    shop.work(10)
    while not shop.signatures:
        shop.unfreeze()
        shop.pass_by(3_700_000)
        shop.work(3)
    return shop


def older_journal(shop: Restored) -> int:
    """The signer's disk is restored; how much had to be asked again."""
    saved = shop.save_signer()
    shop.work(8)
    shop.sync()
    shop.work(shop.chance.randrange(3))
    shop.end_signer(saved)
    shop.guard_child.kill()
    shop.begin_signer(waits=False)
    if shop.signer.ends_within(0.2) or shop.save_signer() != saved:
        raise BrokenError("a restored signer began without guard")
    shop.signer.kill()
    shop.begin()
    asked = shop.asked_again()
    shop.still_holds()
    return asked


def older_guard(shop: Restored) -> None:
    """Guard's store is restored or lost: closed until its operator reconciles it with the signer."""
    shop.save_guard()
    shop.work(8)
    shop.unfreeze()
    shop.sync()
    shop.restore_guard(with_marker=shop.chance.random() < 0.5)
    shop.begin_guard()
    shop.signs_nothing()
    status, _ = shop.call("/v1/negatives", {})
    if status < 400:
        raise BrokenError("a restored guard takes instructions")
    shop.reconcile()
    shop.begin()
    shop.still_holds()


def both_older(shop: Restored) -> str:
    """Both are as they were, and only guard's marker knows of more; what guard says when it is told to reconcile."""
    shop.unfreeze()
    shop.sync()
    shop.save_guard()
    saved = shop.save_signer()
    while len(Chain(shop.folder / "journal").read()) < len(Chain(shop.place / "backup" / "journal").read()) + 4:
        shop.work(4)
        shop.sync()
    shop.restore_guard()
    shop.end_signer(saved)
    shop.begin_guard()
    shop.begin_signer()
    shop.signs_nothing()
    shop.reconcile()
    said = (shop.place / "guard.log").read_text()
    shop.begin_guard()
    shop.signs_nothing()
    return said


@dataclass
class Lost:
    """A payout that both have forgotten; `frame` is what asked for it, `signed` what paid it."""

    payout: Payout
    frame: tuple[str, bytes]
    signed: bytes


def both_lost(shop: Restored, *, with_store: bool) -> Lost:
    """The signer comes back older, and guard's disk as well or not at all."""
    shop.unfreeze()
    record = shop.beneficiary()
    shop.pass_by(90_000_000)
    shop.sync()
    shop.save_guard()
    saved = shop.save_signer()
    payout = Payout(shop.intent(record, 1_000, "paid-twice"), record.address, 1_000, "paid-twice")
    asked = shop.acknowledged["payout", payout.id]
    shop.sign_payouts("pay", [payout], [(shop.coin(50_000), 0)], 500)
    signed = list(shop.signatures.values())[-1][1]
    shop.work(4)
    shop.restore_guard()
    shop.end_signer(saved)
    if not with_store:
        for file in (shop.place / "store").iterdir():
            file.write_bytes(b"")
        (shop.place / "marker").write_bytes(b"")
    if asked is None:
        raise AssertionError("the intent came from nowhere")
    return Lost(payout, asked, signed)


def paid_again(shop: Restored, lost: Lost) -> bytes:
    """The signed bytes of a second payment with other coins. Raises: AskRefused."""
    for row in shop.send(*lost.frame):
        if "refused" in row:
            raise AskRefused(row["refused"]["rule"], row["refused"]["reason"])
    shop.sign_payouts("pay", [lost.payout], [(shop.coin(60_000), 0)], 700)
    return list(shop.signatures.values())[-1][1]


def recovers_by_commands(shop: Restored, epoch: str, *people: Human) -> list[Caller]:
    """As the operators do it, with a file that goes round; the new clients, in the order of those of before."""
    status = shop.ask(Ask.STATUS)["organisations"][ORGANISATION]
    policy = next(each for each in shop.policies if policy_hash(each) == status["policy"])
    before = parse_roster(shop.roster, Mode.SANDBOX)
    keys = [new_client("n", place)[2] for place in range(len(before.clients))]
    paths = {name: str(shop.place / f"{name}.json") for name in ("policy", "roster", "papers", "new", "profile")}
    Path(paths["policy"]).write_bytes(policy)
    Path(paths["roster"]).write_bytes(shop.roster)
    _write_profile(shop, Path(paths["profile"]), people)
    socket = ("--admin-socket", str(shop.place / "admin.sock"))
    new_keys = [f"{each.id}={bytes(key.verify_key).hex()}" for each, key in zip(before.clients, keys, strict=True)]
    _done(
        "begin", *socket, "--epoch", epoch, "--policy", paths["policy"], "--roster", paths["roster"], "--out",
        paths["papers"], "--new-roster", paths["new"], *(part for each in new_keys for part in ("--new-key", each)),
    )
    first, *others = people
    _done("sign", paths["papers"], "--profile", paths["profile"], "--as", _login(first))
    refused = command("recover", "send", paths["papers"], *socket)
    if (refused.code, "aren't a quorum" in refused.err) != (Exit.REFUSED, True):
        raise BrokenError(f"one person was enough: {refused}")
    logins = [part for each in (first, *others) for part in ("--as", _login(each))]
    _done("sign", paths["papers"], "--profile", paths["profile"], *logins)
    _done("send", paths["papers"], *socket)
    made = parse_roster(Path(paths["new"]).read_bytes(), Mode.SANDBOX)
    return [(each.id, each.keys[0].id, key) for each, key in zip(made.clients, keys, strict=True)]


def _write_profile(shop: Restored, file: Path, people: Sequence[Human]) -> None:
    rows = []
    for human in people:
        secret = shop.place / f"{_login(human)}.passkey"
        seed = int.from_bytes(human.id.encode()) % 10**30 + 7
        credential = human.person().credentials[0].id.hex()
        secret.write_text(json.dumps({"credential_id": credential, "p256_private": f"{seed:064x}"}))
        rows.append({"id": human.id, "name": human.name, "login": _login(human), "software_key_file": str(secret)})
    party = {"id": RELYING_PARTY_ID, "origin": ORIGIN}
    deployment = shop.ask(Ask.STATUS)["deployment"]
    file.write_text(json.dumps(
        {"deployment": deployment, "organisation": ORGANISATION, "people": rows, "relying_party": party}
    ))


def _login(human: Human) -> str:
    return human.name[0].lower()


def _done(*arguments: str) -> None:
    done = command("recover", *arguments)
    if done.code:
        raise BrokenError(f"{arguments[0]}: {done.err}")


def begin_recovery(shop: Restored, epoch: str) -> None:
    shop.guard_child.kill()
    (shop.place / "store" / "journal").replace(shop.place / "store" / "lost")
    shop.begin_guard(reconciles=True, epoch=epoch)
    shop.signer.kill()
    shop.begin_signer()
    with suppress(AskRefused):
        shop.sync()


def end_recovery(shop: Restored) -> None:
    for _ in range(100):
        if shop.guard_child.ends_within(0.05):
            break
        with suppress(AskRefused, EndedError):
            shop.sync()
    else:
        raise BrokenError(f"guard doesn't come to an end of the recovery: {shop.logs()}")
    shop.begin()


def refusals_of_all(
    shop: Restored, lost: Lost, asked: Sequence[tuple[str, bytes]], orders: Sequence[bytes]
) -> set[str]:
    """Everything that was ever acknowledged is sent again, and ordered again with other coins; the rules that refuse.

    Raises: BrokenError if anything is signed, or taken from a client of before.
    """
    before, rules = (shop.place / "signing").read_bytes(), set()
    again = [partial(shop.send, channel, frame) for channel, frame in [*asked, *((ENGINE, each) for each in orders)]]
    again += [partial(paid_again, shop, lost), shop.pay_twice]
    for ask in again:
        try:
            answer = ask()
        except AskRefused as fault:
            rules.add(fault.rule)
            continue
        for row in answer if isinstance(answer, list) else [answer]:
            if row is not None and "refused" not in row and "receipt" not in row:
                raise BrokenError(f"taken from a client of before: {row}")
            rules.update([row["refused"]["rule"]] if row is not None and "refused" in row else [])
    if (shop.place / "signing").read_bytes() != before:
        raise BrokenError("something that was asked for before the loss was signed again")
    return rules


def declared(shop: Restored, caller: Caller) -> DestinationRecord:
    """By the new client."""
    client, key_id, signing_key = caller
    key = f"new-{next(shop.numbers)}"
    body = {"name": "Payee", "destination": {"network": simulated.NETWORK, "address": payee(key)}}
    evidence = shop.request("/v1/beneficiaries", body, key, signing_key, key_id)
    shop.take(Ask.DESTINATIONS, [evidence])
    name = beneficiary_id(ORGANISATION, client, IdempotencyKey(key))
    return read_beneficiary(Fields(body), ORGANISATION, name)


def asked_by(shop: Restored, record: DestinationRecord, caller: Caller) -> Payout:
    """A payout of the new client's."""
    client, key_id, signing_key = caller
    key = f"new-{next(shop.numbers)}"
    body = shop.payout_body(record, 1_000)
    shop.take(Ask.INTENTS, [shop.request("/v1/payouts", body, key, signing_key, key_id)])
    name = payout_id(ORGANISATION, client, IdempotencyKey(key))
    return Payout(name, record.address, 1_000, key)


def pay_for(shop: Restored, payout: Payout) -> None:
    shop.sign_payouts("pay", [payout], [(shop.coin(70_000), 0)], 500)


def paid_to(shop: Restored, address: str) -> int:
    """How many transactions that were about to be signed pay this address."""
    lines = (shop.place / "signing").read_text().splitlines()
    unsigned = {json.loads(line)["unsigned"] for line in lines}
    made = [simulated.parse_unsigned(bytes.fromhex(each)) for each in unsigned]
    return sum(address in {output.address for output in each.outputs} for each in made)


def standby(shop: Restored) -> None:
    """The signer's disk is gone; another with its keys and genesis alone takes over."""
    shop.sync()
    before = shop.save_signer()
    shop.end_signer(before[: 36 + int.from_bytes(before[:4])])
    shop.begin()
    if not shop.save_signer().startswith(before):
        raise BrokenError("the standby has another journal than the signer had")
    shop.still_holds()
