"""The machine that owns engine, database, rail and link: what it has, and what it does to the signer with it.

What it plays are functions of the modules beside (`asking`, `paying`, `freeing`, `governing`, `losing`); `fuzz` chooses
among them. Honest parties are in its hands only as far as what they signed is: a promise is noted for all that they
ask for, and nothing else may ever be paid.
"""

import json
import random
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey
from tests.adversary.checks import Checks, Promise
from tests.adversary.policy import TREASURY
from tests.adversary.rail import Rail, read
from tests.adversary.siege import Siege
from tests.signer.world import (
    DECLARE_KEY,
    DECLARER,
    ORGANISATION,
    PAY_KEY,
    PAYER,
    AskRefused,
    Human,
    payee,
)

from strongroom.domain.ids import ClientId, KeyId
from strongroom.formats import simulated
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.control import ByPeople
from strongroom.protocol.destination_record import DestinationRecord
from strongroom.protocol.request import Evidence, PersonEvidence
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.signer.desk import ADMIN, ENGINE
from strongroom.signer.start import StartError

KEPT = 40
"""Of each kind of thing, so many are remembered; older ones are used less and less."""
NETWORK = simulated.NETWORK
ADMINS = ("organisation", "rotate", "recover")

Path = tuple[int, int]
Coin = tuple[simulated.Input, Path]
"""With the generation and index of its key."""


@dataclass
class Payable:
    """What may be paid: the id, how the engine names it, its subject for approvals, and what was promised."""

    payout: str
    item: dict[str, Any]
    subject: str
    record: DestinationRecord
    promise: Promise


@dataclass
class Clients:
    """The honest ones. A recovery puts new ones in their place; `era` counts those."""

    payer: ClientId = PAYER
    declarer: ClientId = DECLARER
    keys: dict[KeyId, SigningKey] = field(default_factory=dict)
    """Every key that ever was, by its id."""
    era: int = 0


@dataclass
class Machine:
    siege: Siege
    chance: random.Random
    checks: Checks
    rail: Rail
    clients: Clients = field(default_factory=Clients)
    records: list[DestinationRecord] = field(default_factory=list)
    payables: list[Payable] = field(default_factory=list)
    evidence: list[tuple[Ask, Evidence]] = field(default_factory=list)
    named_by: dict[str, str] = field(default_factory=dict)
    """Beneficiary to the person or client that declared it."""
    approvals: list[dict[str, Any]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    """What was ever asked, by the admin as well: the engine can ask the same."""
    coins: list[Coin] = field(default_factory=list)
    """Coins of the wallet that were on the chain or may come."""
    used: dict[str, list[list[Coin]]] = field(default_factory=dict)
    """Payout to the coins of its attempts."""
    signed: dict[str, bytes] = field(default_factory=dict)
    """All that was signed, by its id."""
    attestations: list[bytes] = field(default_factory=list)
    given: list[ByPeople] = field(default_factory=list)
    """What people gave guard."""
    backups: list[bytes] = field(default_factory=list)
    stores: list[tuple[bytes, dict[str, bytes]]] = field(default_factory=list)
    """Disks of both, as they were at one time."""
    answers: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)
    """What was reached: of each kind of thing, how often it came to its end."""
    numbers: int = 0
    may_run_ahead: bool = False
    """Whether the clock may be set by days."""

    def __post_init__(self) -> None:
        self.clients.keys |= {PAY_KEY: self.siege.keys.payer, DECLARE_KEY: self.siege.keys.declarer}

    def pick(self, things: Sequence[Any]) -> Any:
        """One of the newest, mostly."""
        return self.chance.choice(things[-KEPT:] if self.chance.random() < 0.9 else things)

    def name(self, kind: str) -> str:
        """A new idempotency key, or one that was there."""
        self.numbers += self.chance.random() < 0.95
        return f"{kind}-{self.numbers}"

    def flipped(self, raw: bytes) -> bytes:
        at = self.chance.randrange(len(raw))
        return raw[:at] + bytes([raw[at] ^ 1 << self.chance.randrange(8)]) + raw[at + 1 :]

    # What it does to the signer.

    def ask(self, ask: Ask, channel: str = ENGINE, **body: Any) -> Any:
        frame = write_ask(ask, {"organisation": ORGANISATION, **body})
        self.frames.append(frame)
        return self.send(frame, channel)

    def send(self, frame: bytes, channel: str = ENGINE) -> Any:
        """Whatever comes back must be an answer; a signature is looked at. Raises: AskRefused, KilledError."""
        self.siege.guard.beat()
        self.checks.before_ask(self.siege)
        raw = self.siege.desk.answer(channel, frame)
        answer = read_answer(raw)
        if isinstance(answer, RefusedAnswer):
            raise AskRefused(answer.rule, answer.reason)
        said, ask = json.loads(raw)["answer"], json.loads(frame)["type"].split("/")[2]
        if channel == ENGINE and ask in ADMINS:
            self.checks.broken(f"the engine asked for {ask}, and was heard")
        if isinstance(said, dict) and "signed" in said:
            asked, signed = json.loads(frame), b64decode(said["signed"])
            self.answers["signed"] += 1
            self.moves[f"signed: {asked['operation']}"] += 1
            self.checks.signed(self.siege, asked, signed)
            self._learn(signed)
        if isinstance(said, dict) and "receipt" in said:
            self.answers["receipt"] += 1
            receipt = json.loads(b64decode(said["receipt"]))
            self.moves["receipt: void" if "void" in receipt else "receipt: never signed"] += 1
            self.checks.received_receipt(self.siege, receipt, self.rail)
        return answer

    def as_admin(self, ask: Ask, **body: Any) -> Any:
        """By its operator, who is honest. Raises: AskRefused."""
        return self.ask(ask, ADMIN, **body)

    def revive(self) -> None:
        """After the process ended: it starts from its disk, as often as it takes."""
        self.restore_from(self.siege.backup())

    def restore_from(self, journal: bytes) -> None:
        """A signer waits for guard before it begins."""
        self.siege.guard.is_reachable, self.siege.guard.kills = True, None
        self.siege.guard.loses_answer = False
        current = self.siege.backup()
        try:
            self.siege.restore(journal)
        except StartError:
            self.answers["refused to start"] += 1  # it ends in an entry that guard never had, and another came since
            self.siege.restore(current)
        self.checks.restarted(self.siege)

    def _learn(self, raw: bytes) -> None:
        transaction, name = read(raw)
        self.signed[name] = raw
        generation = self.generation
        for place, output in enumerate(transaction.outputs):
            if (path := self.path_of(output.address, generation)) is not None:
                coin = simulated.Input(bytes.fromhex(name), place, output.amount, output.address)
                self.coins.append((coin, path))

    def path_of(self, address: str, generation: int) -> Path | None:
        """Of the newest addresses of this generation."""
        last = self._change_next()
        wallet = self.siege.wallet
        found = (index for index in range(last + 1) if wallet.address(ORGANISATION, generation, index) == address)
        index = next(found, None)
        return None if index is None else (generation, index)

    @property
    def generation(self) -> int:
        return int(self.siege.payments.generation(NETWORK))

    def _change_next(self) -> int:
        return int(self.siege.payments.change_next.get(NETWORK, 0))

    def is_pending(self, name: str) -> bool:
        """Whether the chain could still take what was signed."""
        return self.rail.can_follow(self.signed[name], self.signed)

    # What clients sign, and people.

    def request(
        self, client: ClientId, path: str, body: Any, key: str, key_id: KeyId | None = None
    ) -> ClientEvidence:
        """By a client whose clock is right, with the key that it has in the roster in force, or with another."""
        siege = self.siege
        if key_id is None:
            roster = siege.payments.standing.roster
            key_id = next(each.keys[0].id for each in roster.clients if each.id == client)
        age_ms = siege.times.wall_ms - siege.guard.now
        return siege.request(path, body, key, self.clients.keys[key_id], key_id, age_ms=age_ms)

    def by_person(self, person: Human, *asked: Any) -> PersonEvidence:
        return self.siege.person_request(person, *asked, age_ms=self.siege.times.wall_ms - self.siege.guard.now)

    # What it builds.

    def sign(
        self, payables: list[Payable], operation: str, given: list[dict[str, Any]] | None = None,
        coins: list[Coin] | None = None,
    ) -> str:
        """Asks for a signature; the id of what it built. Raises: AskRefused, KilledError."""
        outputs = [self.checks.place_of(each.payout) or each.promise.place for each in payables]
        fee = self.chance.choice((200, 300, 500, 500, 900, 2_500, 60_000))
        chosen = self._coins(payables, sum(minor for _, minor in outputs) + fee + 600, coins or [])
        raw = self._transaction(chosen, outputs, fee, operation)
        if given is None:
            mine = [each for each in self.approvals if each["subject"] in {payable.subject for payable in payables}]
            others = self.chance.sample(self.approvals, min(2, len(self.approvals)))
            given = mine[-2:] if self.chance.random() < 0.8 else others
        for each in payables:
            self.used.setdefault(each.payout, []).append(chosen)
        self.ask(
            Ask.SIGN, operation=operation, network=NETWORK, transaction=b64encode(raw).decode(),
            paths=[{"generation": generation, "index": index} for _, (generation, index) in chosen],
            items=[each.item for each in payables], approvals=given,
        )
        return simulated.transaction_id(raw).hex()

    def fresh_coin(self, minor: int) -> Coin:
        made = (self.siege.coin(minor), (0, 0))
        self.coins.append(made)
        return made

    def _coins(self, payables: list[Payable], wanted: int, these: list[Coin]) -> list[Coin]:
        """`these`, or some of an earlier attempt or others; and fresh ones until they are enough."""
        chosen = {str(coin[0]): coin for coin in these}
        for payable in payables if not these else ():
            attempts = self.used.get(payable.payout)
            if attempts and self.chance.random() < 0.8:
                for coin in self.chance.choice(attempts)[: self.chance.randint(1, 3)]:
                    chosen[str(coin[0])] = coin
        if self.coins and not these and self.chance.random() < 0.5:
            coin = self.pick(self.coins)
            chosen[str(coin[0])] = coin
        while sum(coin.amount for coin, _ in chosen.values()) < wanted:
            made = self.fresh_coin(wanted + self.chance.choice((0, 5_000, 80_000)))
            chosen[str(made[0])] = made
        return list(chosen.values())

    def _transaction(self, coins: list[Coin], outputs: list[tuple[str, int]], fee: int, operation: str) -> bytes:
        """The rest goes to the next change address; or somewhere else, now and then."""
        rest = sum(coin.amount for coin, _ in coins) - sum(minor for _, minor in outputs) - fee
        made = [simulated.Output(minor, address) for address, minor in outputs]
        address = self.siege.wallet.address
        change = address(ORGANISATION, self.generation, self._change_next())
        made.append(simulated.Output(rest, TREASURY if operation == "sweep" else change))
        if self.chance.random() < 0.15:
            at = self.chance.randrange(len(made))
            made[at] = self.chance.choice((
                simulated.Output(made[at].amount + 1, made[at].address),
                simulated.Output(made[at].amount, payee("the machine")),
                simulated.Output(made[at].amount, address(ORGANISATION, self.chance.randrange(3), self._change_next())),
                simulated.Output(made[at].amount, address(ORGANISATION, self.generation, 0)),
            ))
            self.chance.shuffle(made)
        return simulated.encode_unsigned(simulated.Transaction(tuple(coin for coin, _ in coins), tuple(made)))
