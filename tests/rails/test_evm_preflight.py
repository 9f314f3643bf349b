"""What would go wrong with a batch is said before it is planned, each by its reason, by real contracts on a node."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from tests.contracts.node import DEPLOYER, Contract, Node, running_node
from tests.contracts.vault import CAPACITY, FUNDED, MAXIMUM, OPERATOR, OWNER, Vault, account, balance, batch, founded
from tests.rails.lying_node import lying_node

from strongroom.formats.evm_address import eip55
from strongroom.rails.evm.preflight import (
    PAYEES_MAXIMUM,
    PLAIN,
    USDC,
    USDT,
    Planned,
    Preflight,
    Reason,
    Token,
    TokenQuestions,
    check,
)
from strongroom.rails.evm.rail import EvmRail
from strongroom.rails.port import RailError


def text(address: str) -> str:
    return eip55(bytes.fromhex(address[2:]))


A, B = text(account("a")), text(account("b"))
NOTHING = "0x" + "00" * 20


class Scene:
    """A vault that has USDC and USDT listed; `plan` is a batch to which nothing stands in the way."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.vault = founded(node)
        self.vault.list(self.vault.usdt)

    def plan(self, *items: tuple[str, int], token: Contract | None = None, questions: TokenQuestions = USDC) -> Planned:
        asset = Token(text((token or self.vault.usdc).address), questions)
        return Planned(text(self.vault.address), text(OPERATOR), asset, items or ((A, 5), (B, 7), (A, 5)))

    def usdt(self, *items: tuple[str, int]) -> Planned:
        return self.plan(*items, token=self.vault.usdt, questions=USDT)

    def check(self, planned: Planned, url: str = "") -> Preflight:
        async def go() -> Preflight:
            rail = EvmRail("eip155:31337", url or f"http://127.0.0.1:{self.node.port}", "0x", 1)
            try:
                return await check(rail, planned)
            finally:
                await rail.close()

        self.node.rpc("evm_mine")
        return asyncio.run(go())

    def found(self, planned: Planned) -> list[tuple[Reason, str | None]]:
        return [(each.reason, each.payee) for each in self.check(planned).obstacles]


@pytest.fixture(scope="module")
def chain() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture
def scene(chain: Node) -> Iterator[Scene]:
    snapshot = chain.snapshot()
    yield Scene(chain)
    chain.revert(snapshot)


def test_a_good_batch_has_no_obstacle_as_of_the_newest_block(scene: Scene) -> None:
    flight = scene.check(scene.plan())
    newest = scene.node.rpc("eth_getBlockByNumber", "latest", False)
    assert (flight.obstacles, flight.at.block_hash) == ((), newest["hash"])
    assert scene.found(scene.usdt()) == []
    assert scene.found(scene.plan(token=scene.vault.usdt, questions=PLAIN)) == []
    full = [(text(account(f"payee {index}")), 1) for index in range(PAYEES_MAXIMUM)]
    assert scene.found(scene.plan(*full)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda v: v.usdc.send(DEPLOYER, "setPaused", True), (Reason.ASSET_PAUSED, None)),
        (lambda v: v.usdc.send(DEPLOYER, "setBlacklisted", v.address, True), (Reason.VAULT_REFUSED, None)),
        (lambda v: v.usdc.send(DEPLOYER, "setBlacklisted", B, True), (Reason.PAYEE_REFUSED, B)),
        (lambda v: v.contract.send(OPERATOR, "pause"), (Reason.VAULT_PAUSED, None)),
        (lambda v: v.contract.send(OWNER, "rotate", account("new"), account("g")), (Reason.VAULT_OPERATOR, None)),
        (lambda v: v.contract.send(OWNER, "setLimit", v.usdc.address, 0, 0, 0, 0), (Reason.ASSET_UNLISTED, None)),
        (lambda v: v.contract.send(OWNER, "setLimit", v.usdc.address, 50, 0, 6, 100_000), (Reason.LIMIT_ITEM, B)),
        (lambda v: v.contract.send(OWNER, "setLimit", v.usdc.address, 16, 0, 7, 100_000), (Reason.LIMIT_WINDOW, None)),
        (lambda v: v.contract.send(OWNER, "withdraw", v.usdc.address, A, FUNDED - 16), (Reason.VAULT_FUNDS, None)),
        (lambda v: v.node.rpc("anvil_setCode", v.usdc.address, "0x"), (Reason.ASSET_MISSING, None)),
        (lambda v: v.node.rpc("anvil_setCode", v.address, "0x"), (Reason.VAULT_MISSING, None)),
        (lambda v: v.node.rpc("anvil_setCode", v.address, "0x5f5ffd"), (Reason.VAULT_MISSING, None)),
        (lambda v: v.node.rpc("anvil_setCode", B, "0x00"), (Reason.PAYEE_CONTRACT, B)),
        (lambda v: v.node.rpc("anvil_setCode", B, "0xef0100" + "11" * 20), (Reason.PAYEE_CONTRACT, B)),
    ],
)
def test_one_thing_that_is_wrong_is_one_obstacle_with_its_reason(
    scene: Scene, change: Callable[[Vault], object], expected: tuple[Reason, str | None]
) -> None:
    assert scene.found(scene.plan()) == []
    change(scene.vault)
    assert scene.found(scene.plan())[0] == expected
    assert {reason for reason, _ in scene.found(scene.plan())} <= {expected[0], Reason.ASSET_UNANSWERED}


def test_what_is_just_enough_is_enough(scene: Scene) -> None:
    vault = scene.vault
    vault.contract.send(OWNER, "setLimit", vault.usdc.address, 17, 0, 7, 100_000)
    vault.contract.send(OWNER, "withdraw", vault.usdc.address, A, FUNDED - 17)
    assert scene.found(scene.plan((A, 5), (B, 7), (A, 5))) == []
    assert scene.found(scene.plan((A, 5), (B, 7), (A, 6))) == [(Reason.LIMIT_WINDOW, None), (Reason.VAULT_FUNDS, None)]


def test_money_to_a_listed_payee_of_usdt_arrives_and_is_frozen_and_is_stopped_before(scene: Scene) -> None:
    """The attack that a simulation doesn't see: the transfer succeeds, and the payee can never move what it got."""
    usdt = scene.vault.usdt
    usdt.send(DEPLOYER, "setBlackListed", B, True)
    scene.vault.pay(batch(usdt, (B.lower(), 7)))
    assert balance(usdt, B) == 7
    assert scene.found(scene.usdt()) == [(Reason.PAYEE_REFUSED, B)]
    assert scene.found(scene.plan(token=usdt, questions=PLAIN)) == [], "the control: without the question it goes out"


def test_a_fee_that_is_switched_on_is_an_obstacle_and_so_is_the_issuers_refusal_of_the_vault(scene: Scene) -> None:
    scene.vault.usdt.send(DEPLOYER, "setFee", 1, 100)
    assert scene.found(scene.usdt()) == [(Reason.ASSET_FEE, None)]
    scene.vault.usdt.send(DEPLOYER, "setBlackListed", scene.vault.address, True)
    assert scene.found(scene.usdt()) == [(Reason.ASSET_FEE, None), (Reason.VAULT_REFUSED, None)]


def test_a_payee_that_must_never_be_paid_is_refused_by_its_reason(scene: Scene) -> None:
    plan = scene.plan()
    precompiled = ["0x" + "00" * 19 + "01", "0x" + "00" * 18 + "0100"]
    for payee in (NOTHING, *precompiled, plan.token.address, plan.vault, plan.operator):
        assert scene.found(scene.plan((payee, 5), (A, 5))) == [(Reason.PAYEE_FORBIDDEN, payee)]
    for payee in ("", "0x", A.lower(), A[:-1], "bc1q", A[:-1] + "\n"):
        assert scene.found(scene.plan((payee, 5))) == [(Reason.PAYEE_INVALID, payee)]


def test_a_contract_may_be_paid_when_somebody_said_so(scene: Scene) -> None:
    contract = text(scene.vault.hostile.address)
    plan = scene.plan((contract, 5))
    assert scene.found(plan) == [(Reason.PAYEE_CONTRACT, contract)]
    assert scene.found(replace(plan, contracts={contract})) == []


def test_a_token_of_another_kind_than_was_configured_is_an_obstacle(scene: Scene) -> None:
    """USDT spells its blacklist in another way, and a token that answers nothing may hide one."""
    wrong = scene.found(scene.plan(token=scene.vault.usdt, questions=USDC))
    assert wrong == [(Reason.ASSET_UNANSWERED, None), (Reason.ASSET_UNANSWERED, A), (Reason.ASSET_UNANSWERED, B)]


@pytest.mark.parametrize("answer", ["0x", "0x00", "0x" + "00" * 31 + "02", "0x" + "00" * 64, "0x" + "ff" * 32])
def test_an_answer_that_is_neither_yes_nor_no_is_an_obstacle(scene: Scene, answer: str) -> None:
    asked = "0xfe575a87"  # isBlacklisted(address)
    with lying_node(scene.node.port) as provider:
        provider.lies["eth_call"] = lambda asks, true: answer if asks[0]["data"].startswith(asked) else true
        found = [each.reason for each in scene.check(scene.plan((A, 5)), provider.url).obstacles]
        assert found == [Reason.ASSET_UNANSWERED] * 2


def test_all_that_is_wrong_is_said_and_words_go_on_after_the_payout(scene: Scene) -> None:
    scene.vault.usdc.send(DEPLOYER, "setPaused", True)
    scene.vault.contract.send(OPERATOR, "pause")
    found = scene.check(scene.plan((NOTHING, MAXIMUM + 1), (A, CAPACITY))).obstacles
    assert [each.reason for each in found] == [
        Reason.ASSET_PAUSED, Reason.VAULT_PAUSED, Reason.LIMIT_ITEM, Reason.LIMIT_ITEM, Reason.LIMIT_WINDOW,
        Reason.PAYEE_FORBIDDEN,
    ]
    assert all(each.detail.split()[0] in {"can't", "waits", "is", "comes", "would"} for each in found)


@pytest.mark.parametrize("items", [[], [(A, 1)] * (PAYEES_MAXIMUM + 1)], ids=["none", "too many"])
def test_no_item_and_too_many_are_no_batch(scene: Scene, items: Sequence[tuple[str, int]]) -> None:
    with pytest.raises(RailError, match="has 1 to 248 items"):
        scene.check(replace(scene.plan(), items=items))


def test_without_an_answer_nothing_is_clear(scene: Scene) -> None:
    with lying_node(scene.node.port) as provider:
        for method in ("eth_call", "eth_getCode", "eth_getBlockByNumber"):
            provider.honest()
            provider.cuts.add(method)
            with pytest.raises(RailError):
                scene.check(scene.plan(), provider.url)
