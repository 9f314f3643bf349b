"""The road of payouts that a vault pays: as in `road`, with a real EVM node in the place of the simulated chain.

Watch is the real one; where a test lies, it is in watch's place.
"""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import Database
from tests.contracts.node import DEPLOYER, Contract, Node, running_node
from tests.contracts.vault import FUNDED, LIMIT, Vault, account, balance, founded
from tests.engine.road import STEP_MS, OwnEyes, Road, new_world, opened
from tests.signer.test_sign_evm import vault_policy
from tests.signer.world import ORGANISATION
from tools.recount import evm_payments

from strongroom.domain.instant import Instant
from strongroom.engine.bench import Bench
from strongroom.engine.pipeline import advance
from strongroom.formats.evm_address import DEVELOPMENT_CHAIN, eip55
from strongroom.formats.evm_transaction import transaction_hash
from strongroom.formats.evm_vault_call import VaultCall, parse_vault_call
from strongroom.rails.account_port import Mined, Replaced
from strongroom.rails.evm.rail import EvmRail
from strongroom.rails.evm.settlement import Dead, Differs, NotSeen, Paid, Skipped, TakenOver
from strongroom.rails.evm.vault_history import VaultHistory
from strongroom.rails.evm.vault_sums import base_at
from strongroom.rails.port import Pending
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.sign_evm import EvmWallet
from strongroom.watch.account_chain import AccountChain

ETHER = f"{DEVELOPMENT_CHAIN}/slip44:60"
GAS_OPENING = 10**19
FINALITY = 2
FATES = {NotSeen: "unseen", Paid: "paid", Skipped: "skipped", TakenOver: "taken_over", Dead: "dead", Differs: "differs"}


def text(address: str) -> str:
    return eip55(bytes.fromhex(address[2:]))


class VaultRoad(Road):
    network = DEVELOPMENT_CHAIN
    vault: Vault
    """Set on the class of one test."""

    @property
    def asset(self) -> str:  # type: ignore[override]  # of this node's token
        return self.asset_of(self.vault.usdc)

    @property
    def node(self) -> Node:
        return self.vault.node

    def asset_of(self, token: Contract) -> str:
        return f"{DEVELOPMENT_CHAIN}/erc20:{text(token.address)}"

    def open_rail(self) -> None:
        self.genesis = genesis = str(self.node.rpc("eth_getBlockByNumber", "0x0", False)["hash"])
        self.rail = EvmRail(self.network, f"http://127.0.0.1:{self.node.port}", genesis, FINALITY)
        self.guard = OwnEyes(self.world, self.network, self.node.port, genesis.removeprefix("0x"))
        self.operator = self.world.wallets(self.network).address(ORGANISATION, 0, 0)  # type: ignore[union-attr]  # there is one

    def fund_chain(self) -> None:
        self.node.rpc("anvil_setBalance", self.operator, hex(GAS_OPENING))
        self.node.rpc("evm_mine")

    def made_bench(self, connection: Any, signer: Any) -> Bench:
        accounts = {self.network: self.wrap(self.rail)}
        return Bench(connection, signer, {}, self.now, self.screen, self.guard, accounts)

    def address_of(self, name: str) -> str:
        return text(account(name))

    async def open_watch(self) -> None:
        await self.rail.identity()
        await super().open_watch()
        self.chain_of_accounts = AccountChain(self.rail, self.alarms, Instant(0))
        self.history = VaultHistory(
            self.rail, base_at(await self.rail.tip(), [bytes.fromhex(self.vault.address[2:])])
        )
        self.is_lying = False
        self.lies: dict[tuple[str, int], tuple[str, bool]] = {}
        """By batch and item: a fate, and whether it is said to be final."""
        self.lies_of_calls: dict[str, tuple[str, bool]] = {}
        """By a call's name: a status, and whether it is said to be final."""

    async def look(self) -> bool:
        """Watch, once. Whether it had news."""
        if self.is_lying:
            return await self._lie()
        before = await self._reports()
        await self.chain_of_accounts.step(self.watch_connection, self.now())
        return await self._reports() != before

    async def _reports(self) -> tuple[int, ...]:
        (row,) = await self.fetch(
            "SELECT (SELECT count(*) FROM strongroom.chain_reports), (SELECT count(*) FROM strongroom.batch_reports)"
        )
        return tuple(row)

    async def _lie(self) -> bool:
        """What watch does, but for what is to be said in its place."""
        await self.history.advance()
        news = 0
        for row in await self.fetch("SELECT * FROM strongroom.attempts WHERE signed IS NOT NULL"):
            news += await self._report_call(row["chain_transaction"], row["signed"])
            if row["batch"] is not None:
                news += await self._report_items(row["batch"], parse_vault_call(row["unsigned"]))
        return news > 0

    async def _report_call(self, name: str, signed: bytes) -> bool:
        status = await self.rail.status(signed)
        fee, is_final, said = None, False, "unseen"
        if isinstance(status, Mined):
            said, is_final = "confirmed" if status.succeeded else "reverted", status.is_final
            fee = str(status.fee)
        elif isinstance(status, Replaced):
            said, is_final = "replaced", await self._is_final(status.by)
        elif isinstance(status, Pending):
            said = "pending"
        said, is_final = self.lies_of_calls.get(name, (said, is_final))
        return await self.report_call(name, said, is_final, fee)

    async def _is_final(self, digest: str | None) -> bool:
        rows = await self.fetch("SELECT signed FROM strongroom.attempts WHERE signed IS NOT NULL")
        ours = next((row["signed"] for row in rows if transaction_hash(row["signed"]) == digest), None)
        status = None if ours is None else await self.rail.status(ours)
        return isinstance(status, Mined) and status.is_final

    async def report_call(self, name: str, said: str, is_final: bool, fee: str | None) -> bool:
        last = await self.fetch(
            "SELECT status, is_final FROM strongroom.chain_reports WHERE chain_transaction = $1 "
            "ORDER BY id DESC LIMIT 1", name,
        )
        if last and (last[0]["status"], last[0]["is_final"]) == (said, is_final):
            return False
        await self.owner.execute(
            "INSERT INTO strongroom.chain_reports (chain_transaction, status, fee, is_final, created_at) "
            "VALUES ($1, $2, $3::text::numeric, $4, $5)", name, said, fee, is_final, self.now(),
        )
        return True

    async def _report_items(self, batch: str, call: VaultCall) -> bool:
        news = False
        for item, fate in enumerate(self.history.fates(call.batch)):
            said, is_final = FATES[type(fate)], not isinstance(fate, NotSeen) and fate.where.is_final
            said, is_final = self.lies.get((batch, item), (said, is_final))
            received = call.items[item].amount if said == "paid" else None
            news |= await self.report_item(batch, item, said, is_final, received)
        return news

    async def report_item(self, batch: str, item: int, fate: str, is_final: bool, received: int | None = None) -> bool:
        last = await self.fetch(
            "SELECT fate, is_final FROM strongroom.batch_fates WHERE (network, batch, item) = ($1, $2, $3)",
            self.network, batch, item,
        )
        if (last and tuple(last[0]) == (fate, is_final)) or (not last and fate == "unseen"):
            return False
        block = (None, None) if fate == "unseen" else (1, "0x" + "1" * 64)
        await self.owner.execute(
            "INSERT INTO strongroom.batch_reports (network, batch, item, fate, received, taken_by, height, block_hash, "
            "is_final, created_at) VALUES ($1, $2, $3, $4, $5::text::numeric, $6, $7, $8, $9, $10)",
            self.network, batch, item, fate, None if received is None else str(received),
            "0" * 64 if fate == "taken_over" else None, *block, is_final, self.now(),
        )
        return True

    async def settle(self, rounds: int = 12) -> None:
        """The engine, watch and the chain, for so many blocks."""
        for _ in range(rounds):
            await self.go()
            self.mine()
        await self.go()

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.node.rpc("evm_mine")

    async def _is_waiting_a_moment(self) -> bool:
        """What is ready waits for a block."""
        rows = await self.fetch(
            "SELECT EXISTS (SELECT FROM strongroom.payouts WHERE state IN ('received', 'held', 'awaiting_approval') "
            "AND due_at <= $1 AND attempts < 8)", self.now() + STEP_MS,
        )
        return bool(rows[0][0])

    async def steps(self, count: int) -> None:
        """The engine alone."""
        for _ in range(count):
            await advance(self.bench)

    async def calls(self) -> list[tuple[str, VaultCall]]:
        """What was planned, oldest first: its state, and what the vault is told."""
        rows = await self.fetch("SELECT state, unsigned FROM strongroom.attempts ORDER BY created_at, nonce, fee")
        return [(row["state"], parse_vault_call(row["unsigned"])) for row in rows]

    def paid(self, name: str, token: Contract | None = None) -> int:
        """What the payee has, by the token itself."""
        return balance(token or self.vault.usdc, account(name))

    def transfers(self, name: str) -> list[int]:
        """What it got, by the receipts of every block and nothing of the project's."""
        found = evm_payments(f"http://127.0.0.1:{self.node.port}", self.network)
        return [minor for (_, to), minor in found if to == account(name).removeprefix("0x").lower()]

    def blacklist(self, name: str, *, is_on: bool = True) -> None:
        self.vault.usdc.send(DEPLOYER, "setBlacklisted", account(name), is_on)

    async def is_balanced(self) -> bool:
        """Ledger and chain, to the unit, of tokens and gas, when nothing is on its way; and watch found so."""
        await self.look()
        rows = await self.fetch("SELECT DISTINCT ON (asset) asset, is_whole FROM strongroom.reconciliations "
                                "ORDER BY asset, id DESC")
        alarms = [name for name in await self.alarm_names() if not name.startswith("unpaused.")]
        if [row["is_whole"] for row in rows] != [True] * 3 or alarms:
            return False
        tokens = [
            (await self.account("wallet:hot", self.asset_of(token)))[0] == self.vault.held(token)
            for token in (self.vault.usdc, self.vault.usdt)
        ]
        gas = int(self.node.rpc("eth_getBalance", self.operator, "latest"), 16)
        return all(tokens) and (await self.account("wallet:hot", ETHER))[0] == gas

    async def fees(self) -> list[tuple[str, int | None]]:
        rows = await self.fetch("SELECT state, fee_paid FROM strongroom.attempts ORDER BY created_at, nonce, fee")
        return [(row["state"], None if row["fee_paid"] is None else int(row["fee_paid"])) for row in rows]


@contextmanager
def vault_on_node(made: Any = None) -> Iterator[Vault]:
    """Of the account that the world's signer has there; both tokens listed. `made` is a patched copy's code."""
    operator = EvmWallet(KeyStore(Secret(b"\5" * 32)), DEVELOPMENT_CHAIN).address(ORGANISATION, 0, 0)
    with running_node() as node:
        vault = founded(node, made, operator=operator.lower())
        vault.list(vault.usdt, LIMIT)
        yield vault


def policy_of(vault: Vault, **changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(vault_policy(**changes)))
    names = {"USDC": vault.usdc, "USDT": vault.usdt}
    for asset in document["assets"]:
        if asset["symbol"] in names:
            asset["asset"] = f"{DEVELOPMENT_CHAIN}/erc20:{text(names[asset['symbol']].address)}"
    document["assets"].sort(key=lambda each: each["asset"])
    for wallet in document["wallets"]:
        if wallet["network"] == DEVELOPMENT_CHAIN:
            wallet["vault"] = text(vault.address)
    return document


@asynccontextmanager
async def open_vault_road(folder: Path, database: Database, vault: Vault, **policy: Any) -> AsyncIterator[VaultRoad]:
    VaultRoad.vault = vault
    world = new_world(folder, policy_of(vault, **policy))
    openings = {
        **{f"{DEVELOPMENT_CHAIN}/erc20:{text(token.address)}": FUNDED for token in (vault.usdc, vault.usdt)},
        ETHER: GAS_OPENING,
    }
    async with opened(VaultRoad, world, database, None, openings) as road:
        yield road


def items_of(calls: Sequence[tuple[str, VaultCall]]) -> list[int]:
    """How many each has."""
    return [len(call.items) for _, call in calls]
