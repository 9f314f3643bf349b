"""Brings a signed pause to its vault by one node, and asks what stands there.

A node is believed for what concerns itself alone: one that lies holds up its own road and no other's. Who brings it
pays for the gas, at most what he said, and at most `TRIES_MAXIMUM` times, ever more seldom: a node that says for ever
that nothing was mined gets no more.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
from coincurve import PrivateKey

from strongroom.formats.evm_abi import encode_call
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import (
    EvmSignature,
    EvmTransaction,
    address_of,
    encode_signed,
    signing_hash,
)
from strongroom.formats.vault_orders import EPOCH_MAXIMUM
from strongroom.guardian.message import SignedPause
from strongroom.rails.evm.fees import Ceiling, Fees, TooDear, first_fees, replacement_fees
from strongroom.rails.evm.rpc import Data, Hash, Quantity, Refused, Rpc, number, raw_bytes
from strongroom.rails.port import RailError

GAS_LIMIT: Final = 100_000
"""A pause by message was measured at 34,859 (docs/vault.md)."""
TRIES_MAXIMUM: Final = 64
QUICK_TRIES: Final = 8
_PRIORITY_MINIMUM: Final = 2 * 10**9
"""Added for whoever makes the block, where a node names less: this can't wait."""
_WORD: Final = 32


class _Block(msgspec.Struct):
    baseFeePerGas: Quantity  # noqa: N815 the node's name for it


@dataclass(frozen=True, slots=True)
class Standing:
    """What a vault says of itself by a node's newest block."""

    chain_id: int
    epoch: int
    is_paused: bool
    guardian: bytes


@dataclass(slots=True)
class _Tried:
    """How often, when last, and what the node took last: its nonce and fees."""

    times: int = 0
    at_s: float = 0
    nonce: int = -1
    fees: Fees | None = None


async def ask_vault(rpc: Rpc, vault: bytes) -> Standing:
    """Raises: RailError."""
    chain_id = number(await rpc.ask(Quantity, "eth_chainId"))
    epoch, paused, guardian = [await _word(rpc, vault, name) for name in ("epoch()", "paused()", "guardian()")]
    if int.from_bytes(epoch) > EPOCH_MAXIMUM:
        raise RailError("what stands at the vault's address isn't a vault")
    return Standing(chain_id, int.from_bytes(epoch), any(paused), guardian[12:])


async def _word(rpc: Rpc, vault: bytes, question: str) -> bytes:
    asked = {"data": "0x" + encode_call(question, []).hex(), "to": eip55(vault)}
    answer = raw_bytes(await rpc.ask(Data, "eth_call", asked, "latest"))
    if len(answer) != _WORD:
        raise RailError(f"no vault answers {question} there")
    return answer


class Bringer:
    """One account that pays for the gas, by one node."""

    def __init__(
        self, rpc: Rpc, payer: PrivateKey, fee_maximum: int, stuck_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rpc, self._payer, self._stuck_s, self._monotonic_s = rpc, payer, stuck_s, monotonic_s
        self.account = address_of(payer.public_key.format(compressed=False))
        self._ceiling = Ceiling(fee_maximum, fee_maximum, fee_maximum * GAS_LIMIT)
        self._tried: dict[SignedPause, _Tried] = {}

    async def bring(self, signed: SignedPause, ahead: int = 0) -> str | None:
        """The hash of what the node took; None while it is too soon to try again. `ahead` are others of this account
        that are brought before it and aren't mined yet.

        Raises: RailError, which says why the node didn't take it.
        """
        tried = self._tried.setdefault(signed, _Tried())
        wait_s = self._stuck_s * max(1, tried.times - QUICK_TRIES)
        if tried.times and self._monotonic_s() - tried.at_s < wait_s:
            return None
        if tried.times >= TRIES_MAXIMUM:
            raise RailError(f"it was sent {TRIES_MAXIMUM} times, and the node says that nothing came of it")
        tried.times, tried.at_s = tried.times + 1, self._monotonic_s()
        nonce = ahead + number(
            await self._rpc.ask(Quantity, "eth_getTransactionCount", eip55(self.account), "latest")
        )
        fees = await self._fees(tried.fees if tried.nonce == nonce else None)
        pause = signed.pause
        made = EvmTransaction(
            pause.chain_id, nonce, fees.priority, fees.most, GAS_LIMIT, pause.vault, 0, signed.data
        )
        raw = self._payer.sign_recoverable(signing_hash(made), hasher=None)
        signature = EvmSignature(raw[64], int.from_bytes(raw[:32]), int.from_bytes(raw[32:64]))
        try:
            taken = await self._rpc.call(Hash, "eth_sendRawTransaction", "0x" + encode_signed(made, signature).hex())
        except Refused as fault:
            raise RailError(f"the node doesn't take it: {fault.reason}") from fault
        tried.nonce, tried.fees = nonce, fees
        return taken

    async def _fees(self, before: Fees | None) -> Fees:
        """Raises: RailError."""
        block = await self._rpc.ask(_Block, "eth_getBlockByNumber", "latest", False)
        base_fee, priority = number(block.baseFeePerGas), _PRIORITY_MINIMUM
        with suppress(RailError):  # which not every node answers
            priority = max(priority, number(await self._rpc.ask(Quantity, "eth_maxPriorityFeePerGas")))
        fees = (
            first_fees(base_fee, priority, GAS_LIMIT, self._ceiling) if before is None
            else replacement_fees(before, base_fee, priority, GAS_LIMIT, self._ceiling)
        )
        if isinstance(fees, TooDear):
            raise RailError(f"the most that may be paid is too little: {fees.reason}")
        return fees
