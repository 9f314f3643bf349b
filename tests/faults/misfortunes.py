"""What befalls payouts on two real chains besides kills: reorgs, payees on a blacklist, a paused vault, blocks without
them, nodes that lie, and dust. Each passes again after a few seconds.

Done by those who can in the world: miners, the tokens' owner, the vault's guardian and owner, strangers.
"""

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from tests.faults.real_chains import Feed, RealChains
from tests.rails.bitcoin_node import REGTEST
from tests.rails.lying_node import Alter

from strongroom.formats.evm_abi import encode_call
from strongroom.formats.evm_address import DEVELOPMENT_CHAIN
from strongroom.sandbox.bitcoin import SATOSHI, WALLET, BitcoinError
from strongroom.sandbox.evm import EvmError
from strongroom.sandbox.organisation import FINALITY_BLOCKS

GWEI: Final = 10**9
AHEAD: Final = 50 * GWEI
"""What is offered for a place in the block before the vault's calls."""
REORG_MAXIMUM: Final = 6
PATIENCE_S: Final = 4
LASTS_S: Final = (2.0, 6.0)
DUST: Final = 700
RECENT: Final = 300
LEADS_TO: Final[Mapping[str, Sequence[str]]] = {
    "blacklist": ("skipped",), "paused vault": ("reverted",), "unmined coins": ("bumped", "dropped"),
    "unmined call": ("sent again",),
}
"""By misfortune, what of `RealChains.tally` it makes happen, if it comes in the right moment."""


class Misfortunes:
    """`happened` counts those that did; one that finds its node away, or nothing to befall, doesn't."""

    def __init__(self, world: RealChains, feed: Feed, chance: random.Random) -> None:
        self._world, self._feed, self._chance = world, feed, chance
        self._first_evm = int(world.evm.call("eth_blockNumber"), 16)
        self._first = world.miner.call("getblockcount")
        self._deployer = world.evm.call("eth_accounts")[0]
        self._passes: list[tuple[float, Callable[[], None]]] = []
        self._listed: dict[str, float] = {}
        self._paused_until = 0.0
        self._is_vault_calm = False
        self.lied_of_nonces = False
        self.happened: Counter[str] = Counter()
        self.depths: Counter[int] = Counter()
        """Of Bitcoin's reorgs."""
        self.alarms: set[str] = set()
        self.known: Mapping[str, Callable[[], bool]] = {
            "reorg of Bitcoin": self._reorg_bitcoin, "reorg of EVM": self._reorg_evm, "blacklist": self._blacklist,
            "paused vault": self._pause, "unmined coins": self._unmined_coins, "unmined call": self._unmined_call,
            "dust": self._dust, "liar": self._lie,
        }

    def __str__(self) -> str:
        return f"{dict(self.happened)}, reorgs of Bitcoin by depth {dict(sorted(self.depths.items()))}"

    def befall_any(self) -> None:
        """Most often what needs the right moment to happen at all."""
        self.befall(self._chance.choice([*self.known, *["blacklist"] * 3]))

    def left(self) -> list[str]:
        """Those that haven't happened yet, or of which the record doesn't say what they are to lead to."""
        if not self._world.is_there():
            return [*self.known]
        tally = self._world.tally()
        idle = {cause for cause, effects in LEADS_TO.items() if not all(tally[each] for each in effects)}
        if len(self.depths) < REORG_MAXIMUM:
            idle.add("reorg of Bitcoin")
        return [name for name in self.known if not self.happened[name] or name in idle]

    def befall(self, name: str) -> None:
        try:
            self.happened[name] += self.known[name]()
        except (BitcoinError, EvmError) as fault:
            print(f"{name}: {fault}")

    def pass_by(self, *, all_of_them: bool = False) -> None:
        """What has lasted long enough is over; an officer looks at what watch alarmed, and the vault's owner lets go on
        what the guardian paused for it."""
        self.alarms |= self._world.resolve_alarms()
        now = math.inf if all_of_them else time.monotonic()
        left: list[tuple[float, Callable[[], None]]] = []
        for until, end in self._passes:
            try:
                if now >= until:
                    end()
                    continue
            except (BitcoinError, EvmError):
                pass  # its node is away: later
            left.append((until, end))
        self._passes = left
        self._is_vault_calm = False
        with suppress(EvmError):
            self._calm_vault(now)
            self._is_vault_calm = True

    @property
    def is_calm(self) -> bool:
        return not self._passes and self._is_vault_calm

    def _calm_vault(self, now: float) -> None:
        """By what the chain says, again and again: what was sent may be mined later, and a reorg may bring it back."""
        if now >= self._paused_until and self._is_paused():
            self._as_party("owner", "unpause()")
            self._until_mined(lambda: not self._is_paused())
        for payee, until in self._listed.items():
            if now >= until and self._is_listed(payee):
                self._list(payee, is_on=False)
                self._until_mined(lambda payee=payee: not self._is_listed(payee))

    def _until(self) -> float:
        return time.monotonic() + self._chance.uniform(*LASTS_S)

    def _later(self, end: Callable[[], None]) -> None:
        self._passes.append((self._until(), end))

    # Bitcoin.

    def _reorg_bitcoin(self) -> bool:
        """Another branch, without any payout; then they are mined again."""
        node, tip = self._world.miner, self._world.miner.call("getblockcount")
        seldom = min(range(1, REORG_MAXIMUM + 1), key=lambda each: (self.depths[each], self._chance.random()))
        depth = min(seldom, tip - self._first)
        if depth < 1:
            return False
        address = node.call("getnewaddress", wallet=WALLET)
        node.call("invalidateblock", node.call("getblockhash", tip - depth + 1))
        for _ in range(depth + 1):
            node.call("generateblock", address, [])
        node.keep()
        self.depths[depth] += 1
        return True

    def _unmined_coins(self) -> bool:
        """The miner takes none of what waits now, and the engine's node asks for more."""
        waiting = self._wait_for(lambda: self._world.miner.call("getrawmempool"))
        for each in waiting:
            self._world.miner.call("prioritisetransaction", each, 0, -SATOSHI)
        liar, dearer = self._world.liars["engine", REGTEST], self._chance.randint(5, 100) / 100_000
        liar.lies["estimatesmartfee"] = lambda _asked, _true: {"feerate": dearer, "blocks": 2}

        def end() -> None:
            liar.lies.pop("estimatesmartfee", None)
            for each in waiting:
                self._world.miner.call("prioritisetransaction", each, 0, SATOSHI)

        self._later(end)
        return bool(waiting)

    # The vault.

    def _reorg_evm(self) -> bool:
        """Of what isn't final yet: what was taken back waits again, or is forgotten."""
        if int(self._world.evm.call("eth_blockNumber"), 16) <= self._first_evm:
            return False
        self._world.evm.call("anvil_reorg", FINALITY_BLOCKS - 1, [])
        if self._chance.random() < 0.5:
            self._world.evm.call("anvil_dropAllTransactions")
        return True

    def _blacklist(self) -> bool:
        """In the block of the vault's call, before it: the payee is skipped."""
        found = self._wait_for(self._payee_under_way)
        if not found:
            return False
        self._listed[found] = self._until()
        self._list(found, is_on=True)
        return True

    def _payee_under_way(self) -> str:
        """Of a call that pays others too: one that pays nobody reverts."""
        payees = [each.address for each in self._feed.asked[-RECENT:] if each.symbol == "USDC"]
        for call in self._calls():
            found = [each for each in payees if each[2:].lower() in call["input"]]
            if len(found) > 1:
                return self._chance.choice(found)
        return ""

    def _list(self, payee: str, *, is_on: bool) -> None:
        data = encode_call("setBlacklisted(address,bool)", [bytes.fromhex(payee[2:]), is_on])
        self._send(self._deployer, self._world.tokens["USDC"], data)

    def _is_listed(self, payee: str) -> bool:
        data = encode_call("isBlacklisted(address)", [bytes.fromhex(payee[2:])])
        asked = {"to": self._world.tokens["USDC"], "data": "0x" + data.hex()}
        return int(self._world.evm.call("eth_call", asked, "latest"), 16) != 0

    def _pause(self) -> bool:
        """In the block of the vault's call, before it: it reverts."""
        if not self._wait_for(self._calls):
            return False
        self._paused_until = self._until()
        self._as_party("guardian", "pause()")
        return True

    def _is_paused(self) -> bool:
        asked = {"to": self._world.vault, "data": "0x" + encode_call("paused()", []).hex()}
        return int(self._world.evm.call("eth_call", asked, "latest"), 16) != 0

    def _unmined_call(self) -> bool:
        """The next blocks ask for more than the vault's call offers."""
        calls = self._wait_for(self._calls)
        if not calls:
            return False
        offered = max(int(each["maxFeePerGas"], 16) for each in calls)
        self._world.evm.call("anvil_setNextBlockBaseFeePerGas", hex(min(3 * offered, 20 * GWEI)))
        return True

    def _calls(self) -> list[dict[str, Any]]:
        """Of the vault, that wait for a block."""
        waiting = self._world.evm.call("txpool_content")["pending"]
        return [each for of_sender in waiting.values() for each in of_sender.values()
                if str(each["to"]).lower() == self._world.vault.lower()]

    def _as_party(self, name: str, signature: str) -> None:
        """The vault's guardian or owner, whom the node lets anybody be."""
        asked = {"to": self._world.vault, "data": "0x" + encode_call(f"{name}()", []).hex()}
        party = "0x" + self._world.evm.call("eth_call", asked, "latest")[-40:]
        self._world.evm.call("anvil_setBalance", party, hex(10**19))
        self._world.evm.call("anvil_impersonateAccount", party)
        self._send(party, self._world.vault, encode_call(signature, []))

    def _send(self, sender: str, to: str, data: bytes, minor: int = 0) -> None:
        self._world.evm.call("eth_sendTransaction", {
            "from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(200_000), "value": hex(minor),
            "maxFeePerGas": hex(2 * AHEAD), "maxPriorityFeePerGas": hex(AHEAD),
        })

    # Strangers and liars.

    def _dust(self) -> bool:
        """To every wallet: some satoshis, some of a token, some wei."""
        rows = self._world.query("SELECT network, address FROM strongroom.wallet_addresses")
        wallets = {str(row["network"]): str(row["address"]) for row in rows}
        if len(wallets) < 2:
            return False
        self._world.miner.call("sendtoaddress", wallets[REGTEST], f"{DUST / SATOSHI:.8f}", wallet=WALLET)
        token = self._world.tokens[self._chance.choice(("USDC", "USDT"))]
        to = bytes.fromhex(self._world.vault[2:])
        self._send(self._deployer, token, encode_call("transfer(address,uint256)", [to, DUST]))
        self._send(self._deployer, wallets[DEVELOPMENT_CHAIN], b"", DUST)
        return True

    def _lie(self) -> bool:
        """One node, for a while."""
        where = self._chance.choice(list(self._world.liars))
        liar = self._world.liars[where]
        lies = LIES[where]
        if not lies or self._chance.random() < 0.3:
            liar.cut_each = self._chance.randint(2, 5)
        else:
            method = self._chance.choice(list(lies))
            if (altered := lies[method]) is None:
                liar.swallows.add(method)
            else:
                liar.lies[method] = altered
                self.lied_of_nonces |= where[0] == "watch" and method == "eth_getTransactionCount"
        self._later(liar.honest)
        return True

    # Waiting.

    def _wait_for(self, look: Callable[[], Any]) -> Any:
        """What it finds, or nothing if there is nothing for long."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _until_mined(self, holds: Callable[[], bool]) -> None:
        """Raises: EvmError if it doesn't come to be."""
        if not self._wait_for(holds):
            raise EvmError("what was sent isn't mined")


def _receipts_failed(_asked: list[Any], true: Any) -> Any:
    return true and [{**each, "status": "0x0", "logs": []} for each in true]


_ACCOUNT_LIES: Final[Mapping[str, Alter | None]] = {
    "eth_getTransactionByHash": lambda _asked, _true: None,
    "eth_getTransactionCount": lambda _asked, true: hex(int(true, 16) + 1),
    "eth_getBlockReceipts": _receipts_failed,
    "eth_getBalance": lambda _asked, _true: "0x1",
    "eth_call": lambda _asked, _true: "0x" + "0" * 64,
}
LIES: Final[Mapping[tuple[str, str], Mapping[str, Alter | None]]] = {
    ("engine", DEVELOPMENT_CHAIN): {**_ACCOUNT_LIES, "eth_sendRawTransaction": None},
    ("watch", DEVELOPMENT_CHAIN): _ACCOUNT_LIES,
    ("engine", REGTEST): {"sendrawtransaction": None, "getmempoolinfo": lambda _asked, _true: None},
    ("watch", REGTEST): {
        "getrawtransaction": lambda _asked, _true: None, "getblockhash": lambda _asked, _true: "0" * 64,
    },
}
"""By who asks, and of which network: false answers by question, or None for what never reaches the node."""
