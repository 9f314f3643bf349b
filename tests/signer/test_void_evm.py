"""When the signer says of a payout that no vault pays it any more: by what guard saw of each attempt's batch.

The attacker owns the engine: it chooses what is signed, which of it is sent, what guard is asked about, and what the
signer is shown of that. It wants a payout to be void that a vault paid or still can, so that its successor is paid as
well. What guard says of a vault, tests/guard/test_eyes_evm.py show; here it says only what is so.
"""

from pathlib import Path
from typing import Any

import pytest
from tests.signer.test_sign_evm import OTHER, PAYEE, Evm, call_name, item
from tests.signer.world import AskRefused

from strongroom.formats.evm_address import DEVELOPMENT_CHAIN
from strongroom.formats.evm_vault_call import VaultCall
from strongroom.formats.hot_vault import Retry
from strongroom.signer import cover_evm
from strongroom.signer.cover_evm import covers


@pytest.fixture
def world(tmp_path: Path) -> Evm:
    return Evm(tmp_path)


def killed(world: Evm, call: VaultCall, **how: Any) -> bytes:
    return _seen(world, call, "kill", **how)


def left_out(world: Evm, call: VaultCall, *indexes: int, **how: Any) -> bytes:
    return _seen(world, call, *map(str, indexes), **how)


def _seen(world: Evm, call: VaultCall, *what: str, **how: Any) -> bytes:
    name = call.batch.name.hex()
    spends = [f"{name}:{each}" for each in what]
    return world.attest(call_name(call), spends, network=how.pop("network", DEVELOPMENT_CHAIN), **how)


def refused(world: Evm, payout: str, *frames: bytes) -> None:
    with pytest.raises(AskRefused, match="payout-void"):
        world.void(payout, *frames)
    assert payout not in world.payments.dead


def test_what_was_killed_is_void_and_its_successor_is_paid(world: Evm) -> None:
    payout, call = world.asked_for(), world.call(item())
    world.ask_sign(call, payout)
    refused(world, payout)
    world.void(payout, killed(world, call))
    assert world.payments.void[payout] == [[call_name(call), call_name(call)]]
    with pytest.raises(AskRefused, match="intent-alive"):
        world.ask_sign(call, payout)
    successor = world.asked_for()
    assert world.ask_sign(world.call(item()), successor)


def test_what_was_skipped_is_void_and_what_was_paid_beside_it_isnt(world: Evm) -> None:
    late, paid, call = world.asked_for(), world.asked_for(OTHER), world.call(item(), item(OTHER))
    world.ask_sign(call, late, paid)
    frame = left_out(world, call, 0)
    refused(world, paid, frame)
    world.void(late, frame)


@pytest.mark.parametrize(
    "how", [{"depth": 1}, {"age_ms": 3_600_001}, {"deployment": "0" * 16}, {"network": "eip155:1"}]
)
def test_what_guard_saw_elsewhere_long_ago_or_just_now_voids_nothing(world: Evm, how: dict[str, Any]) -> None:
    payout, call = world.asked_for(), world.call(item())
    world.ask_sign(call, payout)
    refused(world, payout, killed(world, call, **how))


def test_a_retry_that_may_still_be_mined_keeps_it_alive(world: Evm) -> None:
    """The first batch was executed without it, the second pays it; guard is asked about the first only."""
    payout, first = world.asked_for(), world.call(item())
    world.ask_sign(first, payout)
    again = world.call(item(), retries=(Retry(first.batch.name, 0),))
    world.ask_sign(again, payout)
    refused(world, payout, left_out(world, first, 0))
    world.void(payout, left_out(world, first, 0), killed(world, again))


def test_control_with_one_attempt_looked_at_the_retry_would_be_forgotten(
    world: Evm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack of before succeeds where what took an item over needn't be excluded itself."""
    payout, first = world.asked_for(), world.call(item())
    world.ask_sign(first, payout)
    again = world.call(item(), retries=(Retry(first.batch.name, 0),))
    world.ask_sign(again, payout)
    monkeypatch.setattr("strongroom.signer.attempts.covers", lambda *_: True)
    world.void(payout, left_out(world, first, 0))
    assert payout in world.payments.dead


def test_what_took_it_over_and_was_executed_without_it_speaks_for_both(world: Evm) -> None:
    payout, first = world.asked_for(), world.call(item())
    world.ask_sign(first, payout)
    again = world.call(item(), retries=(Retry(first.batch.name, 0),))
    world.ask_sign(again, payout)
    world.void(payout, left_out(world, again, 0))
    assert world.payments.void[payout] == [[call_name(first), call_name(again)], [call_name(again), call_name(again)]]


def test_a_kill_of_the_second_says_nothing_of_the_first(world: Evm) -> None:
    """The second batch kills the first; it was killed itself, so it never did."""
    payout, first = world.asked_for(), world.call(item())
    world.ask_sign(first, payout)
    second = world.call(item(), kills=(first.batch.name,))
    world.ask_sign(second, payout)
    refused(world, payout, killed(world, second))
    world.void(payout, killed(world, second), killed(world, first))


def test_a_batch_that_was_executed_without_it_did_what_all_of_its_attempts_do(world: Evm) -> None:
    """Two attempts of the second batch are signed: one kills the first, one retries it. Whichever was mined, the first
    is covered."""
    payout, first = world.asked_for(), world.call(item())
    world.ask_sign(first, payout)
    second = world.call(item(), kills=(first.batch.name,))
    world.ask_sign(second, payout)
    same = world.call(item(), salt=second.salt, retries=(Retry(first.batch.name, 0),), nonce=1)
    world.ask_sign(same, payout)
    world.void(payout, left_out(world, second, 0))
    assert [row[1] for row in world.payments.void[payout]] == [call_name(second)] * 3


def test_every_attempt_of_one_batch_is_excluded_with_it(world: Evm) -> None:
    payout, call = world.asked_for(), world.call(item())
    world.ask_sign(call, payout)
    same = world.call(item(), salt=call.salt, nonce=1, max_fee=60 * 10**9)
    world.ask_sign(same, payout, operation="bump")
    world.void(payout, killed(world, same))
    assert [row[0] for row in world.payments.void[payout]] == [call_name(call), call_name(same)]


def test_another_payouts_batch_frees_nothing(world: Evm) -> None:
    """Also where both are of one amount to one address."""
    payout, twin = world.asked_for(), world.asked_for()
    mine, others = world.call(item()), world.call(item())
    world.ask_sign(mine, payout)
    world.ask_sign(others, twin)
    refused(world, payout, killed(world, others), left_out(world, others, 0))


def test_what_guard_has_seen_of_a_call_that_nobody_signed_needs_people(world: Evm) -> None:
    """The same batch by another account's call: it says the same of the batch, and isn't in the journal."""
    payout, call = world.asked_for(), world.call(item())
    world.ask_sign(call, payout)
    with pytest.raises(AskRefused, match="payout-released"):
        world.void(payout, killed(world, world.call(item(), salt=call.salt, sender=PAYEE)))


def test_a_restarted_signer_knows_what_is_void(world: Evm) -> None:
    payout, call = world.asked_for(), world.call(item())
    world.ask_sign(call, payout)
    world.void(payout, killed(world, call))
    world.restart()
    assert payout in world.payments.dead
    with pytest.raises(AskRefused, match="intent-alive"):
        world.ask_sign(call, payout)


def test_retries_are_followed_so_far_and_no_further(world: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    payout, first = world.asked_for(), world.call(item())
    world.ask_sign(first, payout)
    second = world.call(item(), retries=(Retry(first.batch.name, 0),))
    world.ask_sign(second, payout)
    third = world.call(item(), retries=(Retry(second.batch.name, 0),))
    world.ask_sign(third, payout)
    attempt = world.payments.attempts[call_name(first)]
    spends = [f"{third.batch.name.hex()}:0"]
    assert covers(world.payments, spends, attempt, payout)
    monkeypatch.setattr(cover_evm, "DEPTH_MAXIMUM", 1)
    refused(world, payout, left_out(world, third, 0))
