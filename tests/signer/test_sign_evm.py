"""A vault's payments at the signer: the call is made there, of what was asked for, and pays nobody twice.

The attacker is the engine, which chooses nonce, gas, salt and what is covered; wants a payee that nobody asked for,
another vault's or token's money, or two batches that both pay one payout. That a vault does with the calls what is
counted on here, tests/contracts show. Second opinions are eth-account's.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from tests.signer.world import CLEO, ORGANISATION, AskRefused, World, policy_document

from strongroom.domain.invariant import InvariantError
from strongroom.formats.evm_address import DEVELOPMENT_CHAIN, eip55
from strongroom.formats.evm_transaction import keccak256, parse_signed, sender
from strongroom.formats.evm_vault_call import VaultCall, encode_vault_call
from strongroom.formats.hot_vault import Batch, Retry, VaultItem, encode_kill
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import Ask
from strongroom.signer import sign_evm
from strongroom.signer.wallets import wallet_on

VAULT, USDC, USDT, PAYEE, OTHER, THIEF = (bytes([number]) * 20 for number in (0xAA, 0xC0, 0xD7, 0x01, 0x02, 0x66))
ASSET, TETHER = (f"{DEVELOPMENT_CHAIN}/erc20:{eip55(token)}" for token in (USDC, USDT))
ETHER = f"{DEVELOPMENT_CHAIN}/slip44:60"
GWEI = 10**9
MINOR = 20_000


def vault_policy(**changes: Any) -> dict[str, Any]:
    document = policy_document(**changes)
    known = ((ASSET, "USDC", 6, "10"), (TETHER, "USDT", 6, "10"), (ETHER, "ETH", 18, "1000000000000"))
    for asset, symbol, decimals, units in known:
        document["assets"].append({
            "asset": asset, "symbol": symbol, "decimals": decimals, "network": DEVELOPMENT_CHAIN,
            "maximum_minor": "1000000000000000000000", "ceiling": {"units": units, "reference_minor": "1"},
        })
    document["assets"].sort(key=lambda each: each["asset"])
    document["wallets"].append({
        "network": DEVELOPMENT_CHAIN, "fee_asset": ETHER, "fee_maximum_minor": str(10**17),
        "fee_rate_maximum": str(200 * GWEI * 1_000), "finality_blocks": 2, "treasury": None, "vault": eip55(VAULT),
    })
    document["wallets"].sort(key=lambda each: each["network"])
    return document


class Evm(World):
    def __init__(self, folder: Path, policy: dict[str, Any] | None = None) -> None:
        super().__init__(folder, policy or vault_policy())
        self.ours = wallet_on(self.wallets, DEVELOPMENT_CHAIN)
        self.salts = 0

    def asked_for(self, payee: bytes = PAYEE, minor: int = MINOR, asset: str = ASSET) -> str:
        record = self.cooled(network=DEVELOPMENT_CHAIN, address=eip55(payee))
        return self.intent(record, minor, asset=asset)

    def account(self, generation: int = 0, index: int = 0) -> bytes:
        return bytes.fromhex(self.ours.address(ORGANISATION, generation, index)[2:])

    def call(self, *items: VaultItem, **changes: Any) -> VaultCall:
        self.salts += 1
        base = VaultCall(
            31337, 0, GWEI, 50 * GWEI, 200_000, 2_000_000_000 if items else 0, self.account(), VAULT,
            USDC if items else b"", self.salts.to_bytes(32) if items else b"", items, (), (),
        )
        return replace(base, **changes)

    def ask_sign(
        self, call: VaultCall | bytes, *payouts: str, operation: str = "pay", index: int = 0,
        network: str = DEVELOPMENT_CHAIN, paths: int = 1,
    ) -> bytes:
        raw = call if isinstance(call, bytes) else encode_vault_call(call)
        answer = self.ask(
            Ask.SIGN, operation=operation, network=network, transaction=b64encode(raw).decode(), approvals=[],
            paths=[{"generation": 0, "index": index}] * paths, items=[{"payout": payout} for payout in payouts],
        )
        return b64decode(answer["signed"])


@pytest.fixture
def world(tmp_path: Path) -> Evm:
    return Evm(tmp_path)


def item(payee: bytes = PAYEE, minor: int = MINOR) -> VaultItem:
    return VaultItem(payee, minor)


def test_a_payout_is_signed_as_a_call_of_the_vault_that_others_read_alike(world: Evm) -> None:
    payout, call = world.asked_for(), world.call(item())
    signed = world.ask_sign(call, payout)
    assert Account.recover_transaction("0x" + signed.hex()) == world.ours.address(ORGANISATION, 0, 0)
    made, signature = parse_signed(signed)
    assert sender(made, signature) == world.account()
    batch = Batch(31337, VAULT, USDC, call.salt, (item(),))
    assert (made.to, made.value, made.data) == (VAULT, 0, batch.pay((), (), call.deadline))
    assert world.payments.paid[payout].address == eip55(PAYEE)
    assert world.payments.attempts[call_name(call)].inputs == (f"{batch.name.hex()}:pay",)


def call_name(call: VaultCall) -> str:
    return keccak256(encode_vault_call(call)).hex()


BENT: dict[str, tuple[str, Any]] = {
    "another payee": ("bytes-outputs", lambda call: replace(call, items=(item(THIEF),))),
    "another amount": ("bytes-outputs", lambda call: replace(call, items=(item(minor=MINOR + 1),))),
    "another token": ("bytes-outputs", lambda call: replace(call, token=USDT)),
    "one more item": ("bytes-change", lambda call: replace(call, items=(item(), item(THIEF)))),
    "another vault": ("bytes-inputs", lambda call: replace(call, vault=THIEF)),
    "an account that isn't ours": ("bytes-inputs", lambda call: replace(call, sender=THIEF)),
    "another chain": ("bytes-read", lambda call: replace(call, chain_id=1)),
    "no items": ("bytes-read", lambda call: replace(call, items=())),
    "a fee above the rate": ("bytes-fee", lambda call: replace(call, max_fee=201 * GWEI)),
    "a fee above the maximum": ("bytes-fee", lambda call: replace(call, gas_limit=2_100_000)),
    "too little gas for anything": ("bytes-read", lambda call: replace(call, gas_limit=20_000)),
    "an item that doesn't fit the vault": ("bytes-read", lambda call: replace(call, items=(item(minor=0),))),
}


@pytest.mark.parametrize("what", BENT)
def test_what_nobody_asked_for_isnt_signed(world: Evm, what: str) -> None:
    payout = world.asked_for()
    rule, bend = BENT[what]
    with pytest.raises(AskRefused, match=rule):
        world.ask_sign(bend(world.call(item())), payout)
    assert world.ask_sign(world.call(item()), payout)


@pytest.mark.parametrize("operation", ["cancel", "consolidate"])
def test_money_of_the_vault_comes_back_to_no_account_of_the_signers(world: Evm, operation: str) -> None:
    """It would be without a vault's limits there."""
    change = bytes.fromhex(world.ours.address(ORGANISATION, 0, 0)[2:])
    with pytest.raises(AskRefused, match="bytes-change: 1 outputs aren't items, and 0 may be change"):
        world.ask_sign(world.call(item(change)), operation=operation)


def test_a_sweep_of_a_vault_isnt_signed_yet(tmp_path: Path) -> None:
    world = Evm(tmp_path, vault_policy(sweep_fee_budget_reference_minor="20000"))
    with pytest.raises(AskRefused, match="bytes-outputs"):
        world.ask_sign(world.call(kills=(b"\1" * 32,)), operation="sweep")


def test_from_another_account_of_ours_it_counts_as_another(world: Evm) -> None:
    """Who is asked to send the same from many accounts would otherwise pay for gas that no budget counts."""
    payout, call = world.asked_for(), world.call(item())
    world.ask_sign(call, payout)
    with pytest.raises(AskRefused, match="bytes-inputs"):
        world.ask_sign(call, payout, index=1)
    world.ask_sign(replace(call, sender=world.account(index=1)), payout, index=1)
    assert len(world.payments.attempts_of[payout]) == 2


def test_one_path_signs(world: Evm) -> None:
    with pytest.raises(AskRefused, match="bytes-inputs: 2 paths"):
        world.ask_sign(world.call(item()), world.asked_for(), paths=2)


# Once.


def test_the_same_batch_is_signed_again_with_another_nonce_fee_and_deadline(world: Evm) -> None:
    payout, call = world.asked_for(), world.call(item())
    world.ask_sign(call, payout)
    dearer = replace(call, nonce=1, max_priority_fee=2 * GWEI, max_fee=80 * GWEI)
    assert world.ask_sign(dearer, payout, operation="bump")
    assert world.ask_sign(replace(call, deadline=call.deadline + 60), payout)
    assert len(world.payments.attempts_of[payout]) == 3


def test_a_new_batch_must_cover_each_earlier_one(world: Evm) -> None:
    payout, first = world.asked_for(), world.call(item())
    world.ask_sign(first, payout)
    name = first.batch.name
    for change in ({}, {"kills": (b"\7" * 32,)}, {"retries": (Retry(name, 1),)}):
        with pytest.raises(AskRefused, match="payout-once"):
            world.ask_sign(world.call(item(), **change), payout)
    second = world.call(item(), kills=(name,))
    world.ask_sign(second, payout)
    with pytest.raises(AskRefused, match="payout-once"):  # the second isn't covered
        world.ask_sign(world.call(item(), kills=(name,)), payout)
    assert world.ask_sign(world.call(item(), kills=(name, second.batch.name)), payout)


def test_a_skipped_item_is_taken_over_and_again_from_who_took_it(world: Evm) -> None:
    payout, other = world.asked_for(), world.asked_for(OTHER)
    first = world.call(item(), item(OTHER))
    world.ask_sign(first, payout, other)
    second = world.call(item(OTHER), retries=(Retry(first.batch.name, 1),))
    world.ask_sign(second, other)
    third = world.call(item(OTHER), retries=(Retry(second.batch.name, 0),))
    assert world.ask_sign(third, other)
    loose = world.call(item(), retries=(Retry(second.batch.name, 0),))
    with pytest.raises(AskRefused, match=r"payout-once: item 0 of the batch .* is of a payout that isn't paid here"):
        world.ask_sign(loose, payout)


def test_taking_over_one_payouts_item_covers_no_other(world: Evm) -> None:
    payout, other = world.asked_for(), world.asked_for(OTHER)
    first = world.call(item(), item(OTHER))
    world.ask_sign(first, payout, other)
    one, both = ((Retry(first.batch.name, 0),), (Retry(first.batch.name, 0), Retry(first.batch.name, 1)))
    with pytest.raises(AskRefused, match="payout-once"):
        world.ask_sign(world.call(item(), item(OTHER), retries=one), payout, other)
    assert world.ask_sign(world.call(item(), item(OTHER), retries=both), payout, other)


def test_who_takes_over_from_a_batch_that_was_signed_otherwise_too_must_cover_all_itself(world: Evm) -> None:
    """The chain may have executed the middle one as it was signed without the kill."""
    payout, first = world.asked_for(), world.call(item())
    middle = world.call(item())
    world.ask_sign(middle, payout)
    world.ask_sign(replace(first, kills=(middle.batch.name,)), payout)
    world.ask_sign(replace(middle, kills=(first.batch.name,)), payout)
    last = world.call(item(), retries=(Retry(middle.batch.name, 0),))
    with pytest.raises(AskRefused, match="payout-once"):
        world.ask_sign(last, payout)
    assert world.ask_sign(replace(last, kills=(first.batch.name,)), payout)


def test_two_payouts_of_one_amount_to_one_address_never_share_a_batch(world: Evm) -> None:
    """Both would count as paid by it, and the payee would have its money once."""
    first, second, call = world.asked_for(), world.asked_for(), world.call(item())
    world.ask_sign(call, first)
    with pytest.raises(AskRefused, match=r"payout-once: the batch .* was signed for other payouts"):
        world.ask_sign(replace(call, nonce=1, max_priority_fee=GWEI, max_fee=51 * GWEI), second)
    both = world.call(item(), item())
    world.ask_sign(replace(both, kills=(call.batch.name,)), first, second)
    with pytest.raises(AskRefused, match=r"payout-once: the batch .* was signed for other payouts"):
        world.ask_sign(replace(both, kills=(call.batch.name,), nonce=5), second, first)


def test_batches_are_killed_and_nobody_is_paid(world: Evm) -> None:
    payout, call = world.asked_for(), world.call(item())
    world.ask_sign(call, payout)
    signed = world.ask_sign(world.call(kills=(call.batch.name,)), operation="cancel")
    assert parse_signed(signed)[0].data == encode_kill([call.batch.name])
    with pytest.raises(AskRefused, match="bytes-outputs: an item has no output"):
        world.ask_sign(world.call(kills=(call.batch.name,), nonce=3), payout)


def test_retries_of_retries_are_followed_so_far_and_no_further(world: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.signer.cover_evm.DEPTH_MAXIMUM", 1)
    payout = world.asked_for()
    calls = [world.call(item())]
    world.ask_sign(calls[0], payout)
    calls.append(world.call(item(), retries=(Retry(calls[0].batch.name, 0),)))
    world.ask_sign(calls[1], payout)
    calls.append(world.call(item(), retries=(Retry(calls[1].batch.name, 0),)))
    with pytest.raises(AskRefused, match="payout-once"):
        world.ask_sign(calls[2], payout)


def test_a_restarted_signer_knows_what_is_covered(world: Evm) -> None:
    payout, first = world.asked_for(), world.call(item())
    world.ask_sign(first, payout)
    world.restart()
    with pytest.raises(AskRefused, match="payout-once"):
        world.ask_sign(world.call(item()), payout)
    assert world.ask_sign(world.call(item(), kills=(first.batch.name,)), payout)


# What holds for all chains.


def test_fees_count_each_time_and_are_bounded_for_a_day(tmp_path: Path) -> None:
    world = Evm(tmp_path, vault_policy(fee_budget_reference_minor="20000"))
    payout, call = world.asked_for(), world.call(item(), max_fee=50 * GWEI)  # 0.01 ether are 10,000
    world.ask_sign(call, payout)
    world.ask_sign(replace(call, nonce=1), payout)
    with pytest.raises(AskRefused, match="limit-fees"):
        world.ask_sign(replace(call, nonce=2), payout)


def test_while_frozen_nothing_is_signed(world: Evm) -> None:
    payout = world.asked_for()
    world.guard.instruct(Action.FREEZE, f"network:{DEVELOPMENT_CHAIN}", CLEO)
    world.desk.idle()
    with pytest.raises(AskRefused, match="not-frozen"):
        world.ask_sign(world.call(item()), payout)


def test_a_signature_that_a_fault_has_spoilt_never_leaves(world: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_evm, "sender", lambda *_: THIEF)
    payout = world.asked_for()
    with pytest.raises(InvariantError, match="isn't one of its account's key"):
        world.ask_sign(world.call(item()), payout)


def test_a_policy_names_a_vault_or_none(tmp_path: Path) -> None:
    document = vault_policy()
    for wallet in document["wallets"]:
        wallet.pop("vault", None)
    world = Evm(tmp_path, json.loads(json.dumps(document)))
    with pytest.raises(AskRefused, match=r"bytes-inputs: 0xaA.* isn't the vault of the policy, None"):
        world.ask_sign(world.call(item()), world.asked_for())


