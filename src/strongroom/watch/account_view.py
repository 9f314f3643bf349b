"""The vaults on one chain of accounts, read by ourselves from its blocks, from before the deployment was founded
(ADR 0043), or from where the last watch left off.

Which vaults and tokens there are, the policies say. A vault that is new is looked for in all blocks, unless it wasn't
there yet at the end of those that were folded. Of a token that is new only what happens from there on is known, and
that a vault had the rest already.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.money import AssetId
from strongroom.domain.policy import Policy
from strongroom.formats.address_error import AddressError
from strongroom.formats.asset import AssetError, AssetKind, parse_asset
from strongroom.formats.evm_abi import encode_call
from strongroom.formats.evm_address import eip55, parse_evm_address
from strongroom.rails.account_port import AccountRail
from strongroom.rails.evm.vault_history import Progress, VaultHistory
from strongroom.rails.evm.vault_sums import Base, VaultSums, base_at
from strongroom.rails.port import RailError
from strongroom.watch.chain_base import KeptFile

REORG_MAXIMUM: Final = 144
"""Blocks that are kept at least, to go back by; a final one that is gone is more than a reorg."""


class Wanted:
    """What the policies name on a network: vaults by their owner, and tokens by their asset; one that two claim is
    nobody's. Addresses are hex digits without 0x."""

    def __init__(self, network: str, policies: Mapping[OrganisationId, Policy]) -> None:
        claimed = [
            (vault, organisation) for organisation, policy in policies.items()
            if network in policy.wallets and (vault := _raw(network, policy.wallets[network].vault)) is not None
        ]
        names = [vault for vault, _ in claimed]
        self.owners = {vault: organisation for vault, organisation in claimed if names.count(vault) == 1}
        self.tokens = {
            asset: token for policy in policies.values() for asset in policy.assets
            if (token := _token(network, asset)) is not None
        }
        self.depth = max(
            (policy.wallets[network].finality_blocks for policy in policies.values() if network in policy.wallets),
            default=1,
        )


class AccountView:
    """`founded` is when the deployment was; `file` keeps what was read, for the next start."""

    def __init__(self, rail: AccountRail, founded: Instant, file: KeptFile[Base] | None = None) -> None:
        self._rail = rail
        self._founded = founded
        self._file = file
        self.history: VaultHistory | None = None

    async def advance(self, wanted: Wanted) -> tuple[VaultHistory, Progress]:
        """Read on towards the tip. Raises: RailError; FinalityBroken."""
        vaults, tokens = set(wanted.owners), set(wanted.tokens.values())
        if self.history is None:
            self.history = await self._begin(vaults, tokens)
        base = self.history.base
        if base.vaults.keys() != vaults or base.tokens != tokens:
            self.history = await self._change(base, vaults, tokens)
        return self.history, await self.history.advance()

    def fold(self, wanted: Wanted) -> None:
        """When all that was read has been told."""
        if self.history is not None:
            self.history.fold(max(REORG_MAXIMUM, wanted.depth))
            if self._file is not None:
                self._file.keep(self.history.base)

    def begin_anew(self) -> None:
        """With the next reading: from what was folded long ago, if that still stands, or from the founding on."""
        self.history = None

    async def check_balances(self) -> dict[str, dict[str, int]]:
        """What each vault has of each token, by the logs, after the newest block.

        Raises: RailError if a token says otherwise: it moved money and didn't log it, or a node lies.
        """
        if self.history is None:
            return {}
        found: dict[str, dict[str, int]] = {}
        for vault, sums in self.history.sums().items():
            openings = self.history.base.openings.setdefault(vault, {})
            for token in self.history.base.tokens:
                said = await self._balance(token, vault)
                flowed = sums.flows.get(token, 0)
                if openings.setdefault(token, said - flowed) != said - flowed or said < flowed:
                    raise RailError(
                        f"the token 0x{token} says that the vault 0x{vault} has {said}, which its logs don't make"
                    )
                found.setdefault(vault, {})[token] = said
        return found

    async def _balance(self, token: str, vault: str) -> int:
        if self.history is None:
            return 0
        question = encode_call("balanceOf(address)", [bytes.fromhex(vault)])
        answer = await self._rail.call(eip55(bytes.fromhex(token)), question, self.history.newest)
        if answer is None or len(answer) not in (0, 32):  # nothing is answered where no token is yet
            raise RailError(f"the token 0x{token} doesn't say what the vault 0x{vault} has")
        return int.from_bytes(answer)

    async def _begin(self, vaults: Collection[str], tokens: Collection[str]) -> VaultHistory:
        """Where the last watch left off, if its block still stands. Raises: RailError."""
        kept = None if self._file is None else self._file.recall()
        if kept is not None:
            block = await self._rail.block(kept.height, [])
            if block is not None and block.block_hash == kept.block_hash:
                return VaultHistory(self._rail, kept)
        return await self._begin_anew(vaults, tokens)

    async def _begin_anew(self, vaults: Iterable[str], tokens: Iterable[str]) -> VaultHistory:
        first = await self._rail.before(self._founded)
        return VaultHistory(self._rail, base_at(first, _bytes(vaults), _bytes(tokens)))

    async def _change(self, base: Base, vaults: Collection[str], tokens: Collection[str]) -> VaultHistory:
        """Raises: RailError."""
        for vault in set(vaults) - base.vaults.keys():
            try:
                is_new = not await self._rail.code(eip55(bytes.fromhex(vault)), base.tip)
            except RailError:  # a node without an archive doesn't know, or none answers
                is_new = False
            if not is_new:
                return await self._begin_anew(vaults, tokens)
        base.vaults = {vault: base.vaults.get(vault, VaultSums()) for vault in vaults}
        base.tokens = set(tokens)
        base.openings = {vault: each for vault, each in base.openings.items() if vault in base.vaults}
        return VaultHistory(self._rail, base)


def _raw(network: str, address: str | None) -> str | None:
    try:
        return None if address is None else parse_evm_address(address, network).hex()
    except AddressError:
        return None


def _token(network: str, asset: AssetId) -> str | None:
    try:
        found = parse_asset(asset)
    except AssetError:
        return None
    return _raw(network, found.contract) if found.kind is AssetKind.ERC20 and found.network == network else None


def _bytes(texts: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in texts]
