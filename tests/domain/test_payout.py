"""The one table of states and moves."""

import pytest

from strongroom.domain.payout import CANCELLABLE, MOVES, MoveError, State, move

ENDS = {State.DECLINED, State.CANCELLED, State.EXPIRED, State.FAILED, State.RETURNED}


def test_every_state_stands_in_the_table() -> None:
    assert set(MOVES) == set(State)


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_only_moves_of_the_table_are_made(before: State, after: State) -> None:
    if after in MOVES[before]:
        assert move(before, after) is after
    else:
        with pytest.raises(MoveError, match=f"from {before} to {after}"):
            move(before, after)


def test_an_end_has_no_way_out_but_a_reorg_moves_settled_back() -> None:
    assert {state for state, moves in MOVES.items() if not moves} == ENDS
    assert MOVES[State.SETTLED] == {State.CONFIRMED, State.BROADCAST, State.RETURNED}


def test_every_state_can_be_reached_from_intake() -> None:
    reached = {State.RECEIVED, State.HELD}
    for _ in State:
        reached |= {after for before in reached for after in MOVES[before]}
    assert reached == set(State)


def test_a_payout_is_cancelled_only_before_it_is_planned() -> None:
    assert {before for before, moves in MOVES.items() if State.CANCELLED in moves} == CANCELLABLE
    assert not CANCELLABLE & {State.PLANNED, State.SIGNED, State.BROADCAST, State.CONFIRMED, State.SETTLED}


def test_what_was_sent_waits_again_only_from_broadcast() -> None:
    sent = {State.SIGNED, State.BROADCAST, State.CONFIRMED, State.SETTLED}
    assert {state for state in sent if State.HELD in MOVES[state]} == {State.BROADCAST}


def test_signed_money_is_freed_only_as_failed() -> None:
    for state in (State.SIGNED, State.BROADCAST):
        assert MOVES[state] & ENDS == {State.FAILED}
