"""A vault as the engine sees it: who calls it, what gas a call is given, and what may be offered for it.

The signer checks all of this again by the policy: what is chosen badly here is refused, or costs fees within budget.
"""

import json
from dataclasses import dataclass
from typing import Final

from strongroom.domain.document import Fields
from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.policy import Policy, WalletRule
from strongroom.engine.bench import Bench
from strongroom.engine.waits import shown_rate
from strongroom.formats.evm_vault_call import VaultCall
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.account_port import AccountRail, FeeMarket
from strongroom.rails.evm.fees import Ceiling
from strongroom.store import engine as store
from strongroom.store import vaults

GAS_MAXIMUM: Final = 2**24
"""What a chain transaction may be given (EIP-7825)."""
DEADLINE_S: Final = 3_600
_BASE_GAS: Final = 90_000
_ITEM_GAS: Final = 45_000
_KILL_GAS: Final = 30_000
_RETRY_GAS: Final = 8_000
_PRIORITY_SHARE: Final = 10
"""Of the policy's highest price at most a tenth is for whoever makes the block: the rest is burnt, or isn't paid."""
_GENERATIONS_MAXIMUM: Final = 2**31
_GWEI_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Vault:
    """One network's of one organisation. `account` is its operator's, of this generation of the signer's keys."""

    organisation: OrganisationId
    network: str
    address: str
    account: str
    generation: int
    rule: WalletRule
    policy: Policy
    rail: AccountRail

    @property
    def chain_id(self) -> int:
        return int(self.network.removeprefix("eip155:"))

    @property
    def paths(self) -> str:
        """Which key signs, as it is written down with a call: the account is one key, of its generation."""
        return json.dumps([[self.generation, 0]])

    @property
    def ceiling(self) -> Ceiling:
        most = self.rule.fee_rate_maximum // 1_000
        return Ceiling(most, max(most // _PRIORITY_SHARE, 1), self.rule.fee_maximum_minor)

    def price(self, market: FeeMarket) -> int:
        """What a unit of gas takes in the next block, the ceiling kept."""
        return market.base_fee + min(market.priority_fee, self.ceiling.priority)


async def vault_of(bench: Bench, organisation: OrganisationId, network: str) -> Vault | None:
    """None if the policy names none, or isn't known here yet, or the signer has no account there."""
    policy, rail = (await bench.policies()).get(organisation), bench.accounts.get(network)
    rule = None if policy is None else policy.wallets.get(network)
    if policy is None or rail is None or rule is None or rule.vault is None:
        return None
    found = await _account(bench, organisation, network)
    return None if found is None else Vault(organisation, network, rule.vault, *found, rule, policy, rail)


async def _account(bench: Bench, organisation: OrganisationId, network: str) -> tuple[str, int] | None:
    """The operator's address and its generation, which is the newest; written down for watch when it is new."""
    generation, body = 0, dict[str, JsonValue]({
        "count": 1, "first": 0, "generation": 0, "network": network, "organisation": organisation,
    })
    answer = await bench.signer.ask(Ask.ADDRESSES, body)
    if isinstance(answer, RefusedAnswer):
        return None
    former = Fields(answer).take("former")
    generation = len(former) if isinstance(former, list) else 0
    if generation:
        answer = await bench.signer.ask(Ask.ADDRESSES, {**body, "generation": generation})
        if isinstance(answer, RefusedAnswer):
            return None
    addresses = Fields(answer).take("addresses")
    account = str(addresses[0]) if isinstance(addresses, list) else ""
    if not await store.addresses_of(bench.connection, organisation, network, generation):
        at = bench.clock()
        await store.publish_addresses(bench.connection, organisation, network, generation, 0, [account], at)
    return account, generation


async def free_nonce(bench: Bench, vault: Vault) -> int | None:
    """The account's next nonce by the newest block; None while a call of ours has it. Raises: RailError.

    So at most one call waits for a block: what comes after a restart, a reorg or a lie begins where the chain is.
    """
    nonce = (await vault.rail.nonces(vault.account)).mined
    is_taken = await vaults.has_nonce(bench.connection, vault.organisation, vault.network, vault.paths, nonce)
    return None if is_taken else nonce


def gas_for(items: int, kills: int, retries: int, spare: int) -> int:
    """A bound by what was measured (docs/vault.md), and what a token may be given that the last item doesn't use."""
    return _BASE_GAS + items * _ITEM_GAS + kills * _KILL_GAS + retries * _RETRY_GAS + spare


def items_within(gas_maximum: int, kills: int, retries: int, spare: int) -> int:
    """So many items such a call has gas for."""
    return max((gas_maximum - gas_for(0, kills, retries, spare)) // _ITEM_GAS, 0)


def deadline_after(now: Instant) -> int:
    return now // 1_000 + DEADLINE_S


def gwei(wei: int) -> str:
    return shown_rate(wei, _GWEI_DIGITS)


def cost_maximum(call: VaultCall) -> int:
    return call.gas_limit * call.max_fee
