"""A vault of an organisation's on a real node, its ledger and attempts in a real PostgreSQL, and watch's view of both.

Only what the engine would have written is put there by hand, as the database's owner: attempts with signed bytes, and
postings of the ledger.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import asyncpg
from nacl.signing import SigningKey
from tests.conftest import Database
from tests.contracts.node import Contract, Node
from tests.contracts.vault import FUNDED, address_of, founded, key

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.money import AssetId
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import EvmSignature, encode_signed, keccak256, signing_hash
from strongroom.formats.evm_vault_call import VaultCall, encode_vault_call
from strongroom.formats.hot_vault import Retry, VaultItem
from strongroom.protocol.canonical import encode
from strongroom.protocol.negative import Action, check_object
from strongroom.rails.account_port import AccountRail
from strongroom.rails.evm.rail import EvmRail
from strongroom.sandbox.organisation import policy_document
from strongroom.store import session
from strongroom.store.organisations import NewOrganisation, create_organisation
from strongroom.watch.account_chain import AccountChain
from strongroom.watch.alarms import Alarms

NETWORK = "eip155:31337"
ETHER = AssetId(f"{NETWORK}/slip44:60")
ORGANISATION = OrganisationId("org_" + "a" * 26)
GWEI = 10**9
GAS = 16_000_000
NEVER = 2**40
FINALITY = 3
FOUNDED = Instant(0)
_numbers = itertools.count(1)


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


class Told(Alarms):
    """Guard, as one that takes everything that has the form of an alarm."""

    def __init__(self) -> None:
        super().__init__(None, "0" * 16, SigningKey(b"\x07" * 32))
        self.names: list[str] = []

    async def raise_alarm(self, organisation: OrganisationId, name: str, detail: str, now: Instant) -> bool:
        check_object(Action.ALARM, name)
        self.names.append(name)
        return await super().raise_alarm(organisation, name, detail, now)


class House:
    """`ether` is what the operator's account has when all begins."""

    def __init__(self, node: Node, database: Database, finality: int = FINALITY) -> None:
        self.node, self.database = node, database
        self.key = key(f"house {next(_numbers)}")
        self.operator = address_of(self.key)
        self.vault = founded(node, operator=self.operator)
        self.usdc = AssetId(f"{NETWORK}/erc20:{eip55(raw(self.vault.usdc.address))}")
        self.ether = 10**19
        node.rpc("anvil_setBalance", self.operator, hex(self.ether))
        node.rpc("evm_mine")
        self.genesis = node.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
        self.finality = finality
        self.alarms = Told()
        self.now = 1_000
        self.owner: Any = None
        self.connection: Any = None
        self.chain: Any = None
        self.rails: list[AccountRail] = []

    async def open(self) -> None:
        self.owner = await asyncpg.connect(self.database.owner_dsn)
        document: Any = policy_document(ORGANISATION, {"USDC": self.usdc, "ETH": ETHER})
        document["wallets"][0] |= {"vault": eip55(raw(self.vault.address)), "finality_blocks": self.finality}
        opening = {self.usdc: FUNDED, ETHER: self.ether}
        new = NewOrganisation(ORGANISATION, "A", encode(document), b"{}", (), opening)
        await create_organisation(self.owner, new, Instant(0))
        for asset in opening:
            await self.owner.execute(
                "INSERT INTO strongroom.ledger_accounts (organisation, account, asset) VALUES ($1, 'fees', $2) "
                "ON CONFLICT DO NOTHING", ORGANISATION, asset,
            )
        await self.publish(self.operator)
        self.connection = await session.connect(self.database.dsn("watch"), "test")

    def rail(self, url: str = "") -> AccountRail:
        made = EvmRail(NETWORK, url or f"http://127.0.0.1:{self.node.port}", self.genesis, self.finality)
        self.rails.append(made)
        return made

    def begin(self, folder: Path | None = None, rail: AccountRail | None = None) -> None:
        """A watch, as after its start."""
        self.chain = AccountChain(rail or self.rail(), self.alarms, FOUNDED, folder)

    async def step(self, times: int = 1) -> bool:
        """Two seconds later, when watch is due to look whether any block came or not."""
        is_seeing = False
        for _ in range(times):
            self.now += 2_000
            self.chain._read_s = -10.0
            is_seeing = await self.chain.step(self.connection, Instant(self.now))
        return is_seeing

    async def close(self) -> None:
        for each in self.rails:
            await each.close()
        for connection in (self.owner, self.connection):
            if connection is not None:
                await connection.close()

    async def publish(self, address: str) -> None:
        await self.owner.execute(
            "INSERT INTO strongroom.wallet_addresses VALUES ($1, $2, 0, 0, $3, 0)", ORGANISATION, NETWORK,
            eip55(raw(address)),
        )

    def call(
        self, nonce: int, *items: tuple[str, int], kills: Sequence[bytes] = (), retries: Sequence[Retry] = (),
        salt: bytes | None = None, gwei: int = 1, token: Contract | None = None, deadline: int = NEVER,
        vault: str | None = None,
    ) -> VaultCall:
        paid = tuple(VaultItem(raw(payee), amount) for payee, amount in items)
        made = raw((token or self.vault.usdc).address)
        salt = salt or keccak256(b"house %d" % next(_numbers))
        return VaultCall(
            31337, nonce, gwei * GWEI, gwei * 2 * GWEI, GAS, deadline if items else 0, raw(self.operator),
            raw(vault or self.vault.address), made if items else b"", salt if items else b"", paid, tuple(kills),
            tuple(retries),
        )

    async def record(self, call: VaultCall, state: str = "broadcast") -> str:
        """As the engine would have, before it sends it: its name."""
        unsigned = encode_vault_call(call)
        name = keccak256(unsigned).hex()
        await self.owner.execute(
            "INSERT INTO strongroom.attempts (chain_transaction, organisation, network, asset, operation, unsigned, "
            "paths, fee, created_at, signed, state, updated_at, batch, nonce) "
            "VALUES ($1, $2, $3, $4, 'pay', $5, '0/0', 0, $6, $7, $8, $6, $9, $10)",
            name, ORGANISATION, NETWORK, ETHER, unsigned, self.now, self.signed(call), state,
            call.batch.name.hex() if call.items else None, call.nonce,
        )
        return name

    def send(self, call: VaultCall) -> str:
        """What the chain calls it."""
        return str(self.node.rpc("eth_sendRawTransaction", "0x" + self.signed(call).hex()))

    async def pay(self, call: VaultCall) -> str:
        """Recorded, sent and mined."""
        name = await self.record(call)
        self.send(call)
        self.mine()
        return name

    def signed(self, call: VaultCall) -> bytes:
        made = call.transaction()
        by = self.key.sign_recoverable(signing_hash(made), hasher=None)
        return encode_signed(made, EvmSignature(by[64], int.from_bytes(by[:32]), int.from_bytes(by[32:64])))

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.node.rpc("evm_mine")

    def reorg(self, depth: int) -> None:
        self.node.rpc("anvil_reorg", depth, [])
        self.node.rpc("anvil_dropAllTransactions")

    async def report(self, name: str) -> Any:
        """Status, depth, fee and whether it is final, as reported last."""
        return tuple(await self.owner.fetchrow(
            "SELECT status, depth, fee, is_final FROM strongroom.chain_reports WHERE chain_transaction = $1 "
            "ORDER BY id DESC LIMIT 1", name,
        ) or ())

    async def fates(self, call: VaultCall) -> list[tuple[str, bool]]:
        rows = await self.owner.fetch(
            "SELECT fate, is_final FROM strongroom.batch_fates WHERE network = $1 AND batch = $2 ORDER BY item",
            NETWORK, call.batch.name.hex(),
        )
        return [(row["fate"], row["is_final"]) for row in rows]

    async def found(self, asset: str) -> tuple[int, int, bool]:
        """Chain, expected and whether it is whole, as reconciled last."""
        row = await self.owner.fetchrow(
            "SELECT chain, expected, is_whole FROM strongroom.reconciliations WHERE asset = $1 ORDER BY id DESC", asset
        )
        return int(row["chain"]), int(row["expected"]), row["is_whole"]

    async def post(self, asset: str, debit: str, amount: int, credit: str = "wallet:hot") -> None:
        """From the wallet to another account, or the other way round; for good."""
        await self.owner.execute(
            "INSERT INTO strongroom.ledger_postings (kind, debit_account, credit_account, amount, entry, created_at) "
            "SELECT 'posted', d.id, c.id, $4::text::numeric, 'test', 0 FROM strongroom.ledger_accounts d, "
            "strongroom.ledger_accounts c WHERE (d.organisation, d.account, d.asset) = ($1, $2, $3) "
            "AND (c.organisation, c.account, c.asset) = ($1, $5, $3)",
            ORGANISATION, debit, asset, str(amount), credit,
        )


def play(house: House, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        try:
            await house.open()
            await story()
        finally:
            await house.close()

    asyncio.run(go())
