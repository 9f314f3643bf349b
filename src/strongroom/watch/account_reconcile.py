"""After every block of a chain of accounts: is what the ledger says what vault and account have, to the unit, and did
nothing leave them that our signer didn't sign?

Of tokens, the chain is what the vault was paid and paid, by logs that watch read itself, and what the token says at the
newest block must be the same. Of the asset for gas it is what the account has, by the node's word; what its chain
transactions cost is made of their blocks. A spend is ours if we hold the signed bytes of an attempt for its batch, or
for its nonce. Also an alarm, though no money is gone: an operator that isn't one of our signer's accounts, an unpause.

On the OP stack a chain transaction costs what it takes on the chain below besides, which isn't read: ether of an
account there seems to be missing.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.policy import Policy
from strongroom.protocol.control import UNKNOWN_SPEND
from strongroom.rails.account_port import Account, AccountRail
from strongroom.rails.evm.vault_sums import VaultSums
from strongroom.rails.port import Tip
from strongroom.store import reconciliations as store
from strongroom.store.reconciliations import Found
from strongroom.store.session import Connection
from strongroom.watch.account_view import AccountView, Wanted
from strongroom.watch.findings import Findings

ACCOUNTS_MAXIMUM: Final = 64
"""Of one organisation: one for each generation of keys."""


class AccountReconciler:
    """Of one network."""

    def __init__(self, rail: AccountRail, findings: Findings) -> None:
        self._rail = rail
        self._findings = findings
        self._surplus: dict[tuple[OrganisationId, str], tuple[int, int]] = {}
        """Since which height at least so much is too much."""

    async def reconcile(
        self, connection: Connection, view: AccountView, wanted: Wanted, policies: Mapping[OrganisationId, Policy],
        now: Instant, *, is_complete: bool,
    ) -> None:
        """`is_complete`: all is known of every call of ours, so what else used a nonce is a stranger's.

        Raises: RailError.
        """
        if view.history is None:
            return
        tip, sums = view.history.newest, view.history.sums()
        balances = await view.check_balances()
        published: dict[OrganisationId, list[str]] = {}
        for address, organisation in (await store.wallet_addresses(connection, self._rail.network)).items():
            published.setdefault(organisation, []).append(address)
        for vault, organisation in wanted.owners.items():
            policy, mine = policies[organisation], sorted(published.get(organisation, []))[:ACCOUNTS_MAXIMUM]
            for asset, token in wanted.tokens.items():
                if asset in policy.assets:
                    await self._tokens(
                        connection, organisation, policy, asset, token, tip, sums[vault], balances[vault][token], now
                    )
            await self._owners_acts(connection, organisation, vault, sums[vault], mine, now)
            accounts = {each: await self._rail.account(each, tip) for each in mine}
            if accounts and is_complete:
                await self._gas(connection, organisation, policy, accounts, tip, now)

    async def _tokens(
        self, connection: Connection, organisation: OrganisationId, policy: Policy, asset: str, token: str, tip: Tip,
        sums: VaultSums, balance: int, now: Instant,
    ) -> None:
        network = self._rail.network
        paid = {batch: minor for batch, (of, minor) in sums.paid.items() if of == token}
        recorded = await store.read_tokens(connection, organisation, network, asset, paid.keys())
        if recorded is None:
            return
        unknown = {batch: minor for batch, minor in paid.items() if batch not in recorded.known}
        unknown |= {place.removeprefix("0x"): minor for place, (of, minor) in sums.strays.items() if of == token}
        left = sum(minor for batch, minor in paid.items() if batch in recorded.known)
        expected = recorded.posted + recorded.left - left
        found = Found(
            organisation, network, asset, tip.height, tip.block_hash, balance, recorded.posted, expected,
            balance == expected and not unknown and recorded.left <= left,
        )
        await self._findings.keep(connection, found, now)
        for spend, minor in unknown.items():
            await self._findings.alarm_unknown(connection, organisation, spend, minor, now)
        await self._weigh(connection, policy, found, balance - expected + sum(unknown.values()), now)

    async def _gas(
        self, connection: Connection, organisation: OrganisationId, policy: Policy, accounts: Mapping[str, Account],
        tip: Tip, now: Instant,
    ) -> None:
        network = self._rail.network
        asset = policy.wallets[network].fee_asset
        recorded = await store.read_gas(connection, organisation, network, asset, tip.height)
        if recorded is None:
            return
        used = sum(each.nonce for each in accounts.values())
        balance = sum(each.balance for each in accounts.values())
        expected = recorded.posted + recorded.left - recorded.fees
        found = Found(
            organisation, network, asset, tip.height, tip.block_hash, balance, recorded.posted, expected,
            balance == expected and used == recorded.nonces and recorded.left <= recorded.fees,
        )
        await self._findings.keep(connection, found, now)
        if used > recorded.nonces:
            first = next(iter(accounts)).removeprefix("0x").lower()
            name = f"{UNKNOWN_SPEND}{first}.{used}"
            detail = f"{used} nonces of the account are used at block {tip.height}, {recorded.nonces} by our own calls"
            await self._findings.alarm_once(connection, organisation, name, detail, now)
        await self._weigh(connection, policy, found, balance - expected, now)

    async def _weigh(self, connection: Connection, policy: Policy, found: Found, difference: int, now: Instant) -> None:
        """What is missing is an alarm at once; what is too much is held once it has been there as long as the policy
        asks for."""
        key = found.organisation, found.asset
        if difference < 0:
            await self._findings.alarm_deficit(connection, found, -difference, now)
        if difference <= 0:
            self._surplus.pop(key, None)
            return
        least, since = self._surplus.get(key, (difference, found.height))
        self._surplus[key] = least, since = min(least, difference), min(since, found.height)
        if found.height - since + 1 >= policy.wallets[found.network].finality_blocks:
            await self._findings.hold_surplus(connection, found, least, now)
            del self._surplus[key]

    async def _owners_acts(
        self, connection: Connection, organisation: OrganisationId, vault: str, sums: VaultSums,
        published: Iterable[str], now: Instant,
    ) -> None:
        ours = {each.removeprefix("0x").lower() for each in published}
        if ours and sums.operator and sums.operator not in ours:
            name = f"operator.{sums.operator}"
            detail = f"the vault 0x{vault} takes payments from 0x{sums.operator}, which is no account of our signer's"
            await self._findings.alarm_once(connection, organisation, name, detail, now)
        for epoch in sums.unpaused:
            detail = f"the vault 0x{vault} was unpaused for the {epoch}. time, which its owner alone can do"
            await self._findings.alarm_once(connection, organisation, f"unpaused.{vault}.{epoch}", detail, now)
