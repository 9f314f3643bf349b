"""The simulated chain's rules, in whatever order things come: a coin is spent once, and none comes from nothing."""

import contextlib
import dataclasses

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rails.wallet import Wallet, id_of, new_wallet

from strongroom.formats.simulated import (
    AMOUNT_MAXIMUM,
    DUST_MINOR,
    INPUTS_MAXIMUM,
    OUTPUTS_MAXIMUM,
    SIGHASH_ALL,
    SIGHASH_ANYONECANPAY,
    SIGHASH_NONE,
    SIGHASH_SINGLE,
    Input,
    Output,
    Transaction,
    assemble,
    encode_unsigned,
    fee,
    parse_signed,
    signed_size,
)
from strongroom.rails.port import ChainTransactionId, Coin
from strongroom.sandbox.simulated_ledger import Ledger, Refused

SALT = b"\x07" * 32
WALLETS = [Wallet(PrivateKey(bytes([number]) * 32)) for number in (1, 2, 3)]


def take(ledger: Ledger, signed: bytes) -> bytes:
    known = ledger.check(signed)
    if not ledger.is_live(known.txid):
        ledger.take(known)
    return known.txid


def mine(ledger: Ledger) -> None:
    ledger.connect(ledger.choose(lambda _: False), len(ledger.blocks).to_bytes(32))


def coins(ledger: Ledger, *wallets: Wallet) -> list[Coin]:
    found = ledger.unspent([wallet.address for wallet in wallets])
    return [Coin(ChainTransactionId(txid.hex()), index, coin.amount, coin.address, height)
            for (txid, index), coin, height in found]


def funded(*wallets: Wallet, amount: int = 1_000_000) -> Ledger:
    ledger = Ledger(SALT)
    for wallet in wallets:
        take(ledger, ledger.faucet_payment(wallet.address, amount))
    mine(ledger)
    return ledger


def refusal(ledger: Ledger, signed: bytes) -> Refused:
    with pytest.raises(Refused) as refused:
        ledger.check(signed)
    return refused.value


def test_a_first_block_is_its_salt_and_a_coin_of_one_chain_is_none_of_another() -> None:
    payment = Ledger(SALT).faucet_payment(WALLETS[0].address, 1_000)
    take(Ledger(SALT), payment)
    assert "isn't known" in str(refusal(Ledger(b"\x08" * 32), payment))


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"amount": 1_000_001}, "another amount"), ({"amount": 999_999}, "another amount"),
     ({"address": WALLETS[0].address}, "another amount"), ({"index": 1}, "another amount"),
     ({"index": 2}, "isn't known"), ({"txid": b"\x11" * 32}, "isn't known")],
)
def test_a_lie_about_a_coin_is_refused_though_it_is_signed(change: dict[str, object], reason: str) -> None:
    """The attacker has the engine, tells the signer of a larger coin, and wants the difference to go to fees."""
    payer = WALLETS[0] if "address" in change else WALLETS[1]
    ledger = funded(WALLETS[1])
    (coin,) = coins(ledger, WALLETS[1])
    spent = dataclasses.replace(
        Input(bytes.fromhex(coin.chain_transaction), coin.index, coin.amount_minor, coin.address), **change  # type: ignore[arg-type]  # keyword by keyword
    )
    unsigned = encode_unsigned(Transaction((spent,), (Output(500_000, WALLETS[2].address),)))
    assert reason in str(refusal(ledger, assemble(unsigned, (payer.witness(unsigned),))))


def test_dust_and_outputs_above_the_inputs_are_refused_for_good_and_a_small_fee_for_now() -> None:
    ledger = funded(WALLETS[0])
    mine_coins = coins(ledger, WALLETS[0])
    payee = WALLETS[1].address
    least = signed_size(1, 1)
    for amount, is_permanent in ((DUST_MINOR - 1, True), (1_000_001, True), (1_000_000, False),
                                 (1_000_000 - least + 1, False)):
        assert refusal(ledger, WALLETS[0].spend(mine_coins, [(payee, amount)])).is_permanent is is_permanent
    take(ledger, WALLETS[0].spend(mine_coins, [(payee, 1_000_000 - least)]))


def test_what_builds_on_what_it_would_replace_is_refused() -> None:
    ledger = funded(WALLETS[0])
    before = coins(ledger, WALLETS[0])
    take(ledger, WALLETS[0].spend(before, [(WALLETS[0].address, 900_000)]))
    both = before + coins(ledger, WALLETS[0])
    assert "builds on" in str(refusal(ledger, WALLETS[0].spend(both, [(WALLETS[1].address, 600_000)])))


def test_what_was_replaced_and_whose_coin_is_free_again_is_forgotten_and_may_come_back() -> None:
    """X spends a; Y spends a and b and replaces X; Z spends b and replaces Y: nothing keeps X from coming again."""
    ledger = funded(WALLETS[0], WALLETS[0])
    a, b = coins(ledger, WALLETS[0])
    x = WALLETS[0].spend([a], [(WALLETS[1].address, 990_000)])
    y = WALLETS[0].spend([a, b], [(WALLETS[1].address, 1_980_000)])
    z = WALLETS[0].spend([b], [(WALLETS[1].address, 970_000)])
    taken = [take(ledger, each) for each in (x, y, z)]
    assert ledger.conflict(taken[0]) is None
    assert coins(ledger, WALLETS[0]) == [a]
    assert ledger.conflict(taken[1]) == taken[2]
    assert take(ledger, x) == taken[0]
    mine(ledger)
    assert [ledger.height_of.get(each) for each in taken] == [2, None, 2]


def test_a_conflict_that_is_in_a_block_is_named_before_one_that_waits() -> None:
    ledger = funded(WALLETS[0], WALLETS[0])
    a, b = coins(ledger, WALLETS[0])
    both = take(ledger, WALLETS[0].spend([a, b], [(WALLETS[1].address, 1_990_000)]))
    first = take(ledger, WALLETS[0].spend([b], [(WALLETS[1].address, 980_000)]))
    mine(ledger)
    second = take(ledger, WALLETS[0].spend([a], [(WALLETS[1].address, 970_000)]))
    assert second in ledger.waiting
    assert ledger.conflict(both) == first


def test_a_signature_that_covers_no_outputs_is_stolen_on_the_chain_and_one_for_all_is_not() -> None:
    """The attacker relays, and wants the payment for itself. With NONE it succeeds; with ALL it is stopped."""
    for flag, is_stolen in ((SIGHASH_NONE, True), (SIGHASH_ALL, False)):
        ledger = funded(WALLETS[0])
        signed = WALLETS[0].spend(coins(ledger, WALLETS[0]), [(WALLETS[1].address, 990_000)], flag)
        transaction, witnesses = parse_signed(signed)
        redirected = dataclasses.replace(transaction, outputs=(Output(990_000, WALLETS[2].address),))
        stolen = assemble(encode_unsigned(redirected), witnesses)
        if is_stolen:
            take(ledger, stolen)
        else:
            assert refusal(ledger, stolen).is_permanent
        assert bool(coins(ledger, WALLETS[2])) is is_stolen


@pytest.mark.parametrize("flag", [SIGHASH_SINGLE, SIGHASH_ANYONECANPAY])
def test_the_weaker_flags_let_a_stranger_change_a_signed_payment(flag: int) -> None:
    """With SINGLE the change goes to the attacker; with ANYONECANPAY it adds a coin, so that the id is another one."""
    ledger = funded(WALLETS[0], WALLETS[2])
    payment = [(WALLETS[1].address, 500_000), (WALLETS[0].address, 490_000)]
    transaction, witnesses = parse_signed(WALLETS[0].spend(coins(ledger, WALLETS[0]), payment, flag))
    if flag == SIGHASH_SINGLE:
        outputs = (transaction.outputs[0], Output(490_000, WALLETS[2].address))
        changed = dataclasses.replace(transaction, outputs=outputs)
    else:
        (coin,) = coins(ledger, WALLETS[2])
        own = Input(bytes.fromhex(coin.chain_transaction), coin.index, coin.amount_minor, coin.address)
        changed = dataclasses.replace(transaction, inputs=(*transaction.inputs, own))
    unsigned = encode_unsigned(changed)
    added = (WALLETS[2].witness(unsigned, SIGHASH_ALL, 1),) if flag == SIGHASH_ANYONECANPAY else ()
    taken = take(ledger, assemble(unsigned, (*witnesses, *added)))
    assert taken.hex() != id_of(assemble(encode_unsigned(transaction), witnesses))


def test_the_largest_payment_is_mined() -> None:
    ledger = funded(*[WALLETS[0]] * INPUTS_MAXIMUM, amount=100_000)
    outputs = [(new_wallet().address, 10_000) for _ in range(20)] * (OUTPUTS_MAXIMUM // 20)
    taken = take(ledger, WALLETS[0].spend(coins(ledger, WALLETS[0]), outputs))
    mine(ledger)
    assert ledger.height_of[taken] == 2


steps = st.lists(
    st.tuples(
        st.sampled_from(["pay", "pay", "pay", "replace", "send again", "mine", "disconnect"]),
        st.integers(0, 2**32), st.integers(0, 2), st.integers(1, 40),
    ),
    max_size=40,
)


def check_consistent(ledger: Ledger) -> None:
    live = [ledger.seen[txid] for txid in (*ledger.waiting, *ledger.height_of) if txid in ledger.seen]
    spent = [(each.txid, each.index) for known in live for each in known.transaction.inputs]
    assert len(spent) == len(set(spent)), "a coin is spent twice"
    assert set(spent) == set(ledger.spender)
    assert set(spent) <= set(ledger.coins), "a coin that isn't there is spent"
    unspent = {outpoint for outpoints in ledger.of_address.values() for outpoint in outpoints}
    assert unspent == set(ledger.coins) - set(ledger.spender)
    fees = sum(fee(known.transaction) for known in live)
    assert sum(ledger.coins[outpoint].amount for outpoint in unspent) + fees == AMOUNT_MAXIMUM, "money from nothing"
    order = {txid: place for place, txid in enumerate(ledger.waiting)}
    for txid, known in ledger.waiting.items():
        parents = [each.txid for each in known.transaction.inputs]
        assert all(parent in ledger.height_of or order[parent] < order[txid] for parent in parents)
    heights = [(block.height, txid) for block in ledger.blocks for txid in block.txids]
    assert ledger.height_of == {txid: height for height, txid in heights} | {ledger.blocks[0].hash: 0}


@settings(max_examples=60, deadline=None)
@given(steps)
def test_whatever_is_sent_mined_and_taken_back_coins_are_spent_once_and_none_comes_from_nothing(
    story: list[tuple[str, int, int, int]],
) -> None:
    ledger = funded(*WALLETS, *WALLETS)
    sent: list[bytes] = []
    for what, choice, payer, tenths in story:
        wallet, payee = WALLETS[payer], WALLETS[choice % 3]
        mine_coins = coins(ledger, wallet)
        signed = b""
        if what == "pay" and mine_coins:
            chosen = mine_coins[choice % len(mine_coins) :][: 1 + tenths % 2]
            left = sum(coin.amount_minor for coin in chosen) - tenths * 1_000
            signed = wallet.spend(chosen, [(payee.address, max(left, 1))])
        elif what == "replace" and sent:
            transaction, _ = parse_signed(sent[choice % len(sent)])
            owner = next(each for each in WALLETS if each.address == transaction.inputs[0].address)
            spent = transaction.inputs[0]
            coin = Coin(ChainTransactionId(spent.txid.hex()), spent.index, spent.amount, spent.address, None)
            signed = owner.spend([coin], [(payee.address, max(spent.amount - tenths * 3_000, 1))])
        elif what == "send again" and sent:
            signed = sent[choice % len(sent)]
        elif what == "mine":
            mine(ledger)
        elif what == "disconnect" and ledger.tip.height > 1:
            ledger.disconnect(1 + choice % (ledger.tip.height - 1))
        if signed:
            with contextlib.suppress(Refused):
                take(ledger, signed)
                sent.append(signed)
        check_consistent(ledger)
    mine(ledger)
    assert not ledger.waiting
    check_consistent(ledger)
