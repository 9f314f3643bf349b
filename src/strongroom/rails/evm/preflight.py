"""What would go wrong with a batch, asked before it is planned: of the vault, of its token, and of every payee.

All of it is the node's word as of one block, and the token's issuer may change it in the next. It keeps payouts from
being skipped or lost; that nothing is paid twice or above a limit is the vault's and the signer's to keep.

The blacklists are asked by name. Trying a transfer isn't enough: USDT looks at the sender only, so a transfer to a
listed payee succeeds, and the money is frozen there. A question that the token doesn't answer as its kind does is an
obstacle itself.
"""

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.formats.address_error import AddressError, AddressFault
from strongroom.formats.evm_abi import encode_call
from strongroom.formats.evm_address import parse_evm_address
from strongroom.rails.account_port import AccountRail
from strongroom.rails.port import RailError, Tip

PAYEES_MAXIMUM: Final = 248
AT_ONCE_MAXIMUM: Final = 16
PASSED_MAXIMUM: Final = 10_000
Passed = dict[tuple[str, str], str]
"""By token and payee, the hash of the block as of which nothing was in the way of a payment."""
_WORD: Final = 32
_LIMIT_FIELDS: Final = 6
_DELEGATED: Final = b"\xef\x01\x00"
"""How the code of an account begins that lets a contract act for it (EIP-7702)."""


class Reason(StrEnum):
    """Begins with whom it is about."""

    VAULT_MISSING = "vault_missing"
    VAULT_PAUSED = "vault_paused"
    VAULT_REFUSED = "vault_refused_by_token"
    VAULT_OPERATOR = "vault_operator_differs"
    VAULT_FUNDS = "vault_funds"
    ASSET_MISSING = "asset_missing"
    ASSET_PAUSED = "asset_paused"
    ASSET_FEE = "asset_takes_fee"
    ASSET_UNLISTED = "asset_unlisted"
    ASSET_UNANSWERED = "asset_unanswered"
    LIMIT_ITEM = "limit_item"
    LIMIT_WINDOW = "limit_window"
    PAYEE_INVALID = "payee_invalid"
    PAYEE_FORBIDDEN = "payee_forbidden"
    PAYEE_REFUSED = "payee_refused_by_token"
    PAYEE_CONTRACT = "payee_contract"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`payee` is the one whose item it stops; None stops the batch. `detail` goes on after "The payout", for people."""

    reason: Reason
    detail: str
    payee: str | None = None


@dataclass(frozen=True, slots=True)
class TokenQuestions:
    """What a token of this kind answers, by its function's name; None is something that it doesn't have."""

    blacklist: str | None = None
    pause: str | None = None
    fee: str | None = None


USDC: Final = TokenQuestions(blacklist="isBlacklisted", pause="paused")
USDT: Final = TokenQuestions(blacklist="isBlackListed", pause="paused", fee="basisPointsRate")
PLAIN: Final = TokenQuestions()


@dataclass(frozen=True, slots=True)
class Token:
    address: str
    questions: TokenQuestions


@dataclass(frozen=True, slots=True)
class Planned:
    """A batch that is thought of. `contracts` are payees that may be contracts, such as a Safe that was verified."""

    vault: str
    operator: str
    token: Token
    items: Sequence[tuple[str, int]]
    contracts: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Preflight:
    """No obstacles: nothing is known, as of this block, that would keep it from being paid."""

    at: Tip
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """What a vault could pay of a token now, and the gas that each transfer of it is given."""

    minor: int
    gas_per_item: int


class _Unanswered(Exception):
    """The contract reverted, or answered in another form."""


async def check(rail: AccountRail, planned: Planned, passed: Passed | None = None) -> Preflight:
    """All obstacles, those of the batch first. Who is in `passed` for this block isn't asked about again, and who has
    none is put there. Raises: RailError when nothing is known, or of too many payees.
    """
    if not 1 <= len(planned.items) <= PAYEES_MAXIMUM:
        raise RailError(f"a batch has 1 to {PAYEES_MAXIMUM} items")
    at = await rail.tip()
    asked = _Asked(rail, at)
    return Preflight(at, (*await _of_token(asked, planned), *await _of_vault(asked, planned),
                          *await _of_payees(asked, planned, at, {} if passed is None else passed)))


async def room(rail: AccountRail, vault: str, token: str) -> Room:
    """None at all where vault or token doesn't answer: `check` says why. Raises: RailError."""
    asked = _Asked(rail, await rail.tip())
    try:
        (available,) = await asked.words(vault, "available", token)
        (held,) = await asked.words(token, "balanceOf", vault)
        limit = await asked.words(vault, "limits", token, count=_LIMIT_FIELDS)
    except _Unanswered:
        return Room(0, 0)
    return Room(min(available, held), limit[-1])


class _Asked:
    """Contracts as of one block, not too many questions at once."""

    def __init__(self, rail: AccountRail, at: Tip) -> None:
        self._rail = rail
        self.network = rail.network
        self._at = at
        self._turns = asyncio.Semaphore(AT_ONCE_MAXIMUM)

    async def code(self, address: str) -> bytes:
        async with self._turns:
            return await self._rail.code(address, self._at)

    async def words(self, contract: str, function: str, *accounts: str, count: int = 1) -> list[int]:
        """Raises: _Unanswered; RailError."""
        types = ",".join(["address"] * len(accounts))
        data = encode_call(f"{function}({types})", [bytes.fromhex(each[2:]) for each in accounts])
        async with self._turns:
            answer = await self._rail.call(contract, data, self._at)
        if answer is None or len(answer) != count * _WORD:
            raise _Unanswered(function)
        return [int.from_bytes(answer[at : at + _WORD]) for at in range(0, len(answer), _WORD)]

    async def flag(self, contract: str, function: str, *accounts: str) -> bool:
        """Raises: _Unanswered; RailError."""
        (word,) = await self.words(contract, function, *accounts)
        if word > 1:
            raise _Unanswered(function)
        return word == 1


async def _of_token(asked: _Asked, planned: Planned) -> list[Obstacle]:
    address, questions = planned.token.address, planned.token.questions
    if not await asked.code(address):
        return [Obstacle(Reason.ASSET_MISSING, f"has no token: there is no code at {address}")]
    found: list[Obstacle] = []
    try:
        if questions.pause is not None and await asked.flag(address, questions.pause):
            found.append(Obstacle(Reason.ASSET_PAUSED, "can't go out while its issuer has the token paused"))
        if questions.fee is not None and (await asked.words(address, questions.fee))[0]:
            found.append(Obstacle(Reason.ASSET_FEE, "would arrive short: the token's issuer has switched a fee on"))
        if questions.blacklist is not None and await asked.flag(address, questions.blacklist, planned.vault):
            found.append(Obstacle(Reason.VAULT_REFUSED, "can't go out: the token's issuer refuses the vault"))
    except _Unanswered as fault:
        found.append(Obstacle(Reason.ASSET_UNANSWERED, f"has a token that doesn't answer {fault} as its kind does"))
    return found


async def _of_vault(asked: _Asked, planned: Planned) -> list[Obstacle]:
    vault, token = planned.vault, planned.token.address
    if not await asked.code(vault):
        return [Obstacle(Reason.VAULT_MISSING, f"has no vault: there is no code at {vault}")]
    total = sum(amount for _, amount in planned.items)
    found: list[Obstacle] = []
    try:
        if await asked.flag(vault, "paused"):
            found.append(Obstacle(Reason.VAULT_PAUSED, "waits until the vault's owner unpauses it"))
        (operator,) = await asked.words(vault, "operator")
        if operator != int(planned.operator, 16):
            found.append(Obstacle(Reason.VAULT_OPERATOR, "would be signed by a key that isn't the vault's operator"))
        limit = await asked.words(vault, "limits", token, count=_LIMIT_FIELDS)
        maximum, gas_per_item = limit[4:]
        if gas_per_item == 0:
            return [*found, Obstacle(Reason.ASSET_UNLISTED, "is of a token that the vault's owner hasn't listed")]
        found += [
            Obstacle(Reason.LIMIT_ITEM, f"is {amount}, and the vault pays at most {maximum} at once", payee)
            for payee, amount in planned.items if amount > maximum
        ]
        (available,) = await asked.words(vault, "available", token)
        if total > available:
            found.append(Obstacle(Reason.LIMIT_WINDOW, f"comes to {total}, and the vault lets out {available} now"))
    except _Unanswered as fault:
        return [*found, Obstacle(Reason.VAULT_MISSING, f"has no vault: {vault} doesn't answer {fault}")]
    try:
        (held,) = await asked.words(token, "balanceOf", vault)
        if total > held:
            found.append(Obstacle(Reason.VAULT_FUNDS, f"comes to {total}, and the vault holds {held}"))
    except _Unanswered as fault:
        found.append(Obstacle(Reason.ASSET_UNANSWERED, f"has a token that doesn't answer {fault} as a token does"))
    return found


async def _of_payees(asked: _Asked, planned: Planned, at: Tip, passed: Passed) -> list[Obstacle]:
    token = planned.token.address
    payees = [
        payee for payee in dict.fromkeys(payee for payee, _ in planned.items)
        if passed.get((token, payee)) != at.block_hash
    ]
    found = await asyncio.gather(*(_of_payee(asked, planned, each) for each in payees))
    if len(passed) > PASSED_MAXIMUM:
        passed.clear()
    passed.update(((token, payee), at.block_hash) for payee, each in zip(payees, found, strict=True) if not each)
    return [obstacle for each in found for obstacle in each]


async def _of_payee(asked: _Asked, planned: Planned, payee: str) -> list[Obstacle]:
    forbidden = frozenset({planned.token.address, planned.vault, planned.operator})
    try:
        parse_evm_address(payee, asked.network, forbidden)
    except AddressError as fault:
        reason = Reason.PAYEE_FORBIDDEN if fault.fault is AddressFault.FORBIDDEN else Reason.PAYEE_INVALID
        return [Obstacle(reason, f"would go to {payee[:42]}, which {fault}", payee)]
    found: list[Obstacle] = []
    try:
        blacklist = planned.token.questions.blacklist
        if blacklist is not None and await asked.flag(planned.token.address, blacklist, payee):
            found.append(Obstacle(Reason.PAYEE_REFUSED, "would be frozen or sent back: the issuer refuses it", payee))
    except _Unanswered as fault:
        found.append(Obstacle(Reason.ASSET_UNANSWERED, f"has a token that doesn't answer {fault} of its payee", payee))
    code = await asked.code(payee)
    if code and payee not in planned.contracts:
        kind = "an account that a contract acts for" if code.startswith(_DELEGATED) else "a contract"
        found.append(Obstacle(Reason.PAYEE_CONTRACT, f"would go to {kind}, and nobody has said that it may", payee))
    return found
