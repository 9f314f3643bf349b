"""An organisation on a Bitcoin and an EVM node, and the attacker in its engine's seat; what payees got is counted from
raw blocks and receipts by `tools/recount.py`, which knows nothing of the project.

Nothing is mined unless it is told to.
"""

import asyncio
import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.adversary.firm import Firm, now
from tests.adversary.ground import Ground
from tests.adversary.seat import Seat
from tests.faults.real_chains import Payee
from tests.rails.bitcoin_node import REGTEST
from tests.signer.world import AskRefused
from tools.recount import bitcoin_payments, evm_payments, script_of

from strongroom.domain.policy import parse_policy
from strongroom.formats.bitcoin_address import bitcoin_address_of
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.formats.coins import Coin
from strongroom.formats.evm_address import DEVELOPMENT_CHAIN, eip55
from strongroom.formats.evm_vault_call import encode_vault_call, parse_vault_call
from strongroom.protocol.canonical import encode, parse_object
from strongroom.protocol.genesis import Mode
from strongroom.protocol.roster import parse_roster
from strongroom.protocol.signer_wire import Ask
from strongroom.sandbox.bitcoin import SATOSHI
from strongroom.sandbox.funding import fund_wallets
from strongroom.sandbox.organisation import make_organisation
from strongroom.sandbox.trusted import ask_signer, let_in
from strongroom.store.organisations import add_organisation

SYMBOLS = ("BTC", "USDC")
MINOR = {"BTC": 1_000, "USDC": 1_000_000}
FORM = COIN_FORMATS[REGTEST]
ADDRESSES = 40
FEE_SAT = 5_000


@dataclass
class RealFirm(Firm):
    payees: dict[str, Payee] = field(default_factory=dict)
    beneficiaries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def known(self, name: str) -> list[Payee]:
        """A payee of this name on each chain, declared."""
        found = []
        for symbol in SYMBOLS:
            twenty = hashlib.sha256(f"{self.id} {symbol} {name}".encode()).digest()[:20]
            network, address = DEVELOPMENT_CHAIN, eip55(twenty)
            if symbol == "BTC":
                network, address = REGTEST, str(bitcoin_address_of(b"\0\x14" + twenty, REGTEST))
            found.append(Payee(f"{name}-{symbol}", symbol, network, address, MINOR[symbol]))
        for each in found:
            self.payees[each.name] = each
            self.beneficiaries[each.name] = dict(self.client("beneficiaries").beneficiaries.create(
                idempotency_key=f"declare-{each.name}", name="Payee",
                destination={"network": each.network, "address": each.address},
            ))
        return found

    def pay(self, to: Payee, key: str = "", **changes: Any) -> str:
        """What an honest client asks for; its id."""
        made = self.beneficiaries[to.name]
        asked = {
            "beneficiary": made["id"], "destination_digest": made["destination"]["digest"],
            "asset": self.document["assets"][to.symbol], "amount": str(to.minor), "external_id": to.name,
        } | changes
        return str(self.client("payouts").payouts.create(idempotency_key=key or f"pay-{to.name}", **asked)["id"])

    def mine(self) -> None:
        nodes = self.ground.supervisor.nodes
        assert nodes.bitcoin is not None
        assert nodes.evm is not None
        nodes.bitcoin.mine()
        nodes.evm.mine()

    def beyond(self) -> dict[str, int]:
        """What the payees on each chain got above what they were promised."""
        sandbox = json.loads((self.ground.data / "sandbox.json").read_text())
        cookie = Path(sandbox["bitcoin"]["cookie_file"]).read_text().strip()
        assets = self.document["assets"]
        got: dict[str, list[int]] = {name: [] for name in self.payees}
        places = {(assets[each.symbol].lower(), _place(each)): name for name, each in self.payees.items()}
        for payments in (
            bitcoin_payments(sandbox["bitcoin"]["rpc_url"], cookie, assets["BTC"]),
            evm_payments(sandbox["evm"]["rpc_url"], DEVELOPMENT_CHAIN),
        ):
            for place, minor in payments:
                if place in places:
                    got[places[place]].append(minor)
        assert all(got.values()), f"somebody got nothing: {got}"
        return {
            symbol: sum(sum(got[name]) - each.minor for name, each in self.payees.items() if each.symbol == symbol)
            for symbol in SYMBOLS
        }


def _place(payee: Payee) -> str:
    return script_of(payee.address) if payee.symbol == "BTC" else payee.address[2:].lower()


def found_real(ground: Ground) -> RealFirm:
    """A new organisation with a wallet and a vault, as `sandbox organisation` makes it; nothing cools off."""
    made = make_organisation(ground.data / "keys", "Example Rides", ground.document["assets"])
    document = {**parse_object(made.new.policy), "cooling_off_ms": dict.fromkeys(
        ("declared", "payee_verified", "allowlisted"), 0)}
    new = replace(made.new, policy=encode(document))
    asyncio.run(add_organisation(ground.dsn("owner"), new, now()))
    let_in(ground.admin_socket, new.policy, new.roster)
    fund_wallets(ground.admin_socket, ground.supervisor.nodes, new.id, new.opening, ground.data / "keys" / new.id)
    body: Any = {"count": ADDRESSES, "first": 0, "generation": 0, "network": REGTEST, "organisation": new.id}
    addresses = ask_signer(ground.admin_socket, Ask.ADDRESSES, body)["addresses"]
    policy, roster = parse_policy(parse_object(new.policy)), parse_roster(new.roster, Mode.SANDBOX)
    firm = RealFirm(ground, made.document, policy, roster, addresses)
    ground.officers[firm.id] = firm.resolve
    ground.eventually(lambda: firm.id in ground.status()["organisations"], "guard knows the new organisation")
    return firm


class RealSeat(Seat):
    """At the signer, and at both nodes."""

    firm: RealFirm

    def pays_again(self, payout: str) -> bool:
        """Asks for another chain transaction of this payout, which alone its first attempt pays, and which the chain
        could hold beside that: of other coins, or another batch with the next nonce. What is signed is sent. Whether.
        """
        (row,) = self.ground.query(
            "engine", "SELECT a.network, a.unsigned, a.paths FROM strongroom.attempts a "
            "JOIN strongroom.attempt_payouts USING (chain_transaction) WHERE payout = $1", payout,
        )
        made = self._other_coins if row["network"] == REGTEST else self._other_batch
        raw, paths = made(row)
        with suppress(AskRefused):
            answer = self.ask(
                Ask.SIGN, operation="pay", network=row["network"], transaction=b64encode(raw).decode(), paths=paths,
                items=[{"payout": payout}], approvals=[],
            )
            self._send(row["network"], b64decode(answer["signed"]))
            return True
        return False

    def _other_coins(self, row: Mapping[str, Any]) -> tuple[bytes, list[Any]]:
        before = FORM.read_unsigned(row["unsigned"])
        own = {script_of(each): (place, each) for place, each in enumerate(self.firm.addresses)}
        node = self.ground.supervisor.nodes.bitcoin
        assert node is not None
        found = node.call("scantxoutset", "start", [f"addr({each})" for each in self.firm.addresses])["unspents"]
        coins = {f"{each['txid']}:{each['vout']}": each for each in found}
        outpoint = next(each for each in coins if each not in before.spends)
        place, address = own[coins[outpoint]["scriptPubKey"]]
        coin = Coin(outpoint, round(coins[outpoint]["amount"] * SATOSHI), address)
        to, minor = before.outputs[0]
        change = self.ask(Ask.ADDRESSES, network=REGTEST, generation=0, first=0, count=1)["change_next"]
        outputs = [(to, minor), (self.firm.addresses[change], coin.amount - minor - FEE_SAT)]
        return FORM.write_unsigned([coin], outputs), [{"generation": 0, "index": place}]

    def _other_batch(self, row: Mapping[str, Any]) -> tuple[bytes, list[Any]]:
        call = parse_vault_call(row["unsigned"])
        other = replace(call, nonce=call.nonce + 1, salt=hashlib.sha256(call.salt).digest())
        ((generation, index),) = json.loads(row["paths"])
        return encode_vault_call(other), [{"generation": generation, "index": index}]

    def _send(self, network: str, signed: bytes) -> None:
        nodes = self.ground.supervisor.nodes
        assert nodes.bitcoin is not None
        assert nodes.evm is not None
        if network == REGTEST:
            nodes.bitcoin.call("sendrawtransaction", signed.hex())
        else:
            nodes.evm.call("eth_sendRawTransaction", "0x" + signed.hex())
