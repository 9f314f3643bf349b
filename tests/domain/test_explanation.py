"""A payout's state in words: every state and every reason to wait has some, for the payee and for who asks on."""

import pytest

from strongroom.domain.explanation import explain
from strongroom.domain.instant import Instant
from strongroom.domain.payout import Hold, HoldReason, State


@pytest.mark.parametrize("state", State)
def test_every_state_has_words_for_the_payee_and_a_next_step(state: State) -> None:
    told, following = explain(state, None)
    assert told.endswith(".")
    assert following.endswith(".")


@pytest.mark.parametrize("reason", HoldReason)
def test_every_reason_to_wait_has_its_own(reason: HoldReason) -> None:
    told = explain(State.HELD, Hold(reason, Instant(1)))
    assert told != explain(State.HELD, None)
    assert all(each.endswith((".", "not_before.")) for each in told)


def test_a_payee_isnt_told_what_only_approvers_may_know() -> None:
    for reason in (HoldReason.FREEZE, HoldReason.ALARM, HoldReason.FUNDS, HoldReason.LIMIT_WINDOW):
        told = explain(State.HELD, Hold(reason, None))[0].lower()
        assert not any(word in told for word in ("alarm", "fund", "limit", "theft", "attack"))
