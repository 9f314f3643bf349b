"""Guard's own eyes on a vault of a real EVM node, and on nodes and contracts that lie.

The attacker owns the engine, which chooses what guard is asked about and where; in some tests a contract of its own, or
guard's node. It wants an attestation that frees what a vault paid, or still can.
"""

import asyncio
import itertools
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.contracts.node import DEPLOYER, Node, running_node
from tests.contracts.vault import OPERATOR, OWNER, Vault, account, founded
from tests.rails.lying_node import LyingNode, lying_node

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import Instant
from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_vault_call import VaultCall, encode_vault_call
from strongroom.formats.hot_vault import Retry, VaultItem
from strongroom.guard import config, eyes_evm
from strongroom.guard.eyes import Eyes
from strongroom.protocol.guard_wire import Attestation, open_attestation

KEY = SigningKey(b"\x05" * 32)
DEPLOYMENT = "0" * 16
NETWORK = "eip155:31337"
DEPTH = 3
NEVER = 2**40
_numbers = itertools.count(1)


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


class Scene:
    """A vault, and guard's node, which is `provider` in front of the real one."""

    def __init__(self, node: Node, provider: LyingNode, vault: Vault) -> None:
        self.node, self.provider, self.vault = node, provider, vault
        self.genesis = node.rpc("eth_getBlockByNumber", "0x0", False)["hash"][2:]

    def call(self, *items: tuple[str, int], **changes: Any) -> VaultCall:
        known: dict[str, Any] = {
            "chain_id": 31337, "nonce": 0, "max_priority_fee": 1, "max_fee": 2, "gas_limit": 1_000_000,
            "deadline": NEVER, "sender": raw(OPERATOR), "vault": raw(self.vault.address),
            "token": raw(self.vault.usdc.address), "salt": keccak256(b"eyes %d" % next(_numbers)),
            "items": tuple(VaultItem(raw(payee), amount) for payee, amount in items), "kills": (), "retries": (),
        }
        return VaultCall(**{**known, **changes})

    def pay(self, call: VaultCall) -> None:
        """By the operator, whoever is named as sender."""
        self.vault.contract.send_data(OPERATOR, call.transaction().data)

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.node.rpc("evm_mine")

    @property
    def height(self) -> int:
        return int(self.node.rpc("eth_blockNumber"), 16)

    def part_paid(self) -> VaultCall:
        """Paid but for the second of three."""
        late = account("late")
        call = self.call((account("a"), 5), (late, 7), (account("b"), 9))
        self.vault.usdc.send(DEPLOYER, "setBlacklisted", late, True)
        self.pay(call)
        self.vault.usdc.send(DEPLOYER, "setBlacklisted", late, False)
        return call

    def killed(self) -> VaultCall:
        call = self.call((account("a"), 5))
        self.vault.contract.send(OPERATOR, "kill", [call.batch.name])
        return call

    def attest(
        self, call: VaultCall, height: int | None = None, *, name: str = "", genesis: str = "", network: str = NETWORK,
        shown: VaultCall | None = None, port: int = 0,
    ) -> Attestation:
        """As of the newest block that is deep enough. Raises: DocumentError."""
        port = port or int(self.provider.url.rpartition(":")[2])
        node = config.Node("127.0.0.1", port, None, genesis or self.genesis)
        rule = SimpleNamespace(policy=SimpleNamespace(wallets={network: SimpleNamespace(finality_blocks=DEPTH)}))
        log: Any = SimpleNamespace(current={"org": rule}, standings=SimpleNamespace(deployment=DEPLOYMENT))
        eyes = Eyes({network: node}, KEY, log, lambda: Instant(1_700_000_000_000))
        encoded = encode_vault_call(shown or call)
        body = {
            "chain_transaction": name or keccak256(encode_vault_call(call)).hex(), "call": encoded.hex(),
            "height": self.height - DEPTH + 1 if height is None else height, "network": network,
        }
        frame = b64decode(str(asyncio.run(eyes.attest(Fields(body)))["attestation"]))
        return open_attestation(bytes(KEY.verify_key), frame, DEPLOYMENT)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as running:
        running.rpc("anvil_mine", hex(DEPTH))
        yield running


@pytest.fixture
def scene(node: Node) -> Iterator[Scene]:
    with lying_node(node.port) as provider:
        yield Scene(node, provider, founded(node))


def refused(scene: Scene, call: VaultCall, said: str, **how: Any) -> None:
    with pytest.raises(DocumentError, match=said):
        scene.attest(call, **how)


UNDECIDED = "hasn't killed that batch, nor skipped any of its items"


def test_a_killed_batch_is_attested_once_it_is_deep_enough(scene: Scene) -> None:
    call = scene.killed()
    height = scene.height
    for _ in range(DEPTH - 1):
        refused(scene, call, "must be an object", height=height)
        refused(scene, call, UNDECIDED)
        scene.mine()
    seen = scene.attest(call)
    assert seen == scene.attest(call, height) == scene.attest(call, port=scene.node.port)
    assert (seen.identifier, seen.depth, seen.network) == (keccak256(encode_vault_call(call)).hex(), DEPTH, NETWORK)
    assert seen.spends == (f"{call.batch.name.hex()}:kill",)


def test_of_an_executed_batch_only_what_it_skipped_is_attested(scene: Scene) -> None:
    call, paid = scene.part_paid(), scene.call((account("a"), 5))
    scene.pay(paid)
    scene.mine(DEPTH)
    assert scene.attest(call).spends == (f"{call.batch.name.hex()}:1",)
    refused(scene, paid, UNDECIDED)
    refused(scene, scene.call((account("a"), 5)), UNDECIDED)


def test_what_a_retry_took_over_is_attested_no_more(scene: Scene) -> None:
    """By the batch that took it over it is, if that skipped it as well."""
    first, late = scene.part_paid(), account("late")
    again = scene.call((late, 7), (account("c"), 1), retries=(Retry(first.batch.name, 1),))
    scene.vault.usdc.send(DEPLOYER, "setBlacklisted", late, True)
    scene.pay(again)
    scene.mine(DEPTH)
    scene.vault.usdc.send(DEPLOYER, "setBlacklisted", late, False)
    refused(scene, first, UNDECIDED)
    assert scene.attest(again).spends == (f"{again.batch.name.hex()}:0",)


def test_a_batch_that_another_vault_killed_isnt_dead(scene: Scene) -> None:
    """The attacker has a vault, or any contract that answers as one, and kills there what ours still pays."""
    call, other = scene.call((account("a"), 5)), founded(scene.node)
    other.contract.send(OPERATOR, "kill", [call.batch.name])
    scene.mine(DEPTH)
    elsewhere = scene.call((account("a"), 5), salt=call.salt, vault=raw(other.address))
    refused(scene, call, UNDECIDED)
    refused(scene, call, "isn't the call of this name", shown=elsewhere)
    refused(scene, elsewhere, UNDECIDED)
    scene.pay(call)
    other.contract.send(OPERATOR, "kill", [elsewhere.batch.name])
    scene.mine(DEPTH)
    assert scene.attest(elsewhere).spends == (f"{elsewhere.batch.name.hex()}:kill",)  # which is no attempt of ours


def test_a_call_that_pays_nobody_or_isnt_one_is_no_answer(scene: Scene) -> None:
    kill = scene.call(token=b"", salt=b"", deadline=0, kills=(b"\1" * 32,))
    refused(scene, kill, "or pays nobody")
    refused(scene, scene.call((account("a"), 5)), "isn't the call of this name", name="f" * 64)
    refused(scene, scene.killed(), "its chain isn't the one", shown=None, genesis="0" * 64)


def test_a_call_for_another_chain_is_no_answer(scene: Scene) -> None:
    call = scene.call((account("a"), 5), chain_id=1)
    scene.vault.contract.send(OPERATOR, "kill", [call.batch.name])
    scene.mine(DEPTH)
    refused(scene, call, "its chain isn't the one that was configured, or that the call is for")


def test_where_no_vault_is_nothing_is_attested(scene: Scene) -> None:
    scene.mine(DEPTH)
    refused(scene, scene.call((account("a"), 5), vault=raw(account("nobody"))), UNDECIDED)
    refused(scene, scene.call((account("a"), 5), vault=raw(scene.vault.usdc.address)), "it says no: execution reverted")


@pytest.mark.parametrize("call", ["", "zz", "00" * 10])
def test_bytes_that_are_no_call_are_refused(scene: Scene, call: str) -> None:
    eyes = SimpleNamespace(call=call)
    node = config.Node("127.0.0.1", scene.node.port, None, scene.genesis)
    rule = SimpleNamespace(policy=SimpleNamespace(wallets={NETWORK: SimpleNamespace(finality_blocks=DEPTH)}))
    log: Any = SimpleNamespace(current={"org": rule}, standings=SimpleNamespace(deployment=DEPLOYMENT))
    body = {"chain_transaction": "f" * 64, "height": 1, "network": NETWORK, "call": eyes.call}
    with pytest.raises(DocumentError):
        asyncio.run(Eyes({NETWORK: node}, KEY, log, lambda: Instant(0)).attest(Fields(body)))
    del body["call"]
    with pytest.raises(DocumentError, match="doesn't show it"):
        asyncio.run(Eyes({NETWORK: node}, KEY, log, lambda: Instant(0)).attest(Fields(body)))


def test_a_reorg_takes_the_kill_away_and_the_attestation_with_it(scene: Scene) -> None:
    scene.mine(DEPTH)
    call = scene.killed()
    scene.mine(DEPTH - 1)
    height = scene.height - DEPTH + 1
    assert scene.attest(call, height)
    scene.node.rpc("anvil_reorg", DEPTH, [])
    scene.node.rpc("anvil_dropAllTransactions")
    scene.mine(DEPTH)
    refused(scene, call, UNDECIDED, height=height)


def test_blocks_that_dont_go_on_from_each_other_are_no_depth(scene: Scene) -> None:
    call = scene.killed()
    height = scene.height
    scene.mine(DEPTH - 1)
    newest = hex(scene.height)
    other = scene.node.rpc("eth_getBlockByNumber", hex(height - 1), False)
    scene.provider.lies["eth_getBlockByNumber"] = lambda asked, true: other if asked[0] == newest else true
    refused(scene, call, "don't go on from each other", height=height)
    scene.provider.honest()
    assert scene.attest(call, height)


@pytest.mark.parametrize(
    "answer", ["0x", "0x00", "0x" + "0" * 63 + "3" + "0" * 64, "0x" + "0" * 63 + "2", "0x" + "0" * 63 + "2" + "0" * 65]
)
def test_answers_of_another_form_are_none(scene: Scene, answer: str) -> None:
    call = scene.killed()
    scene.mine(DEPTH)
    scene.provider.lies["eth_call"] = lambda *_: answer
    with pytest.raises(DocumentError):
        scene.attest(call)


def test_a_contract_that_takes_for_ever_is_given_up_soon(scene: Scene) -> None:
    """Anybody may ask guard: a contract of his own mustn't keep its node busy."""
    asked: list[Any] = []
    scene.provider.lies["eth_call"] = lambda parameters, true: asked.append(parameters[0]["gas"]) or true
    call = scene.killed()
    scene.mine(DEPTH)
    scene.attest(call)
    assert [int(each, 16) <= 200_000 for each in asked] == [True]


def test_the_owner_kills_as_the_operator_does(scene: Scene) -> None:
    call = scene.call((account("a"), 5))
    scene.vault.contract.send(OWNER, "kill", [call.batch.name])
    scene.mine(DEPTH)
    assert scene.attest(call).spends == (f"{call.batch.name.hex()}:kill",)


CONTROLS = {
    "any depth is deep": ("range(height, height + depth)", "range(height, height + 1)"),
    "what was paid is skipped": (" if skipped >> index & 1]", "]"),
    "blocks needn't go on from each other": ("any(after[1] != before[0] for", "any(False for"),
    "any chain will do": ('int(await _ask(node, "eth_chainId"), 16) != call.chain_id', "False"),
    "any call of that name will do": ("keccak256(raw).hex() != identifier", "False"),
}


@pytest.mark.parametrize("what", CONTROLS)
def test_control_without_one_of_its_checks_guard_attests_what_isnt_so(
    scene: Scene, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(eyes_evm.__file__).read_text()
    rule, none = CONTROLS[what]
    assert source.count(rule) == 1
    patched: dict[str, Any] = {"__name__": "patched"}
    exec(compile(source.replace(rule, none), "patched", "exec"), patched)
    call = scene.call((account("a"), 5), chain_id=1 if what == "any chain will do" else 31337)
    how: dict[str, Any] = {}
    if what == "what was paid is skipped":
        scene.pay(call)
    else:
        scene.vault.contract.send(OPERATOR, "kill", [call.batch.name])
    if what == "any depth is deep":
        how["height"] = scene.height
    else:
        scene.mine(DEPTH)
    if what == "any call of that name will do":
        how["name"] = "f" * 64
    if what == "blocks needn't go on from each other":
        other = scene.node.rpc("eth_getBlockByNumber", "0x1", False)
        newest = hex(scene.height)
        scene.provider.lies["eth_getBlockByNumber"] = lambda asked, true: other if asked[0] == newest else true
    with pytest.raises(DocumentError):
        scene.attest(call, **how)
    monkeypatch.setattr(eyes_evm, "look", patched["look"])
    assert scene.attest(call, **how).spends
