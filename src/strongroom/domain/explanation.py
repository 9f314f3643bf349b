"""A payout's state in words: for its payee, and for who wants to know what comes next."""

from typing import Final

from strongroom.domain.payout import Hold, HoldReason, State

_HELD: Final = {
    HoldReason.FREEZE: ("Payments are stopped for a moment.", "People must lift the freeze."),
    HoldReason.COOLING: ("Your payout details are new and are being checked.", "It goes on when cooling-off ends."),
    HoldReason.LIMIT_WINDOW: ("Your payout is waiting its turn.", "It goes on when the limit has room again."),
    HoldReason.FUNDS: ("Your payout is waiting its turn.", "The wallet must be funded."),
    HoldReason.FEE: ("Your payout is waiting for a better moment.", "It goes on when fees fall."),
    HoldReason.RAIL: ("Your payout is waiting for the network.", "It goes on when the network answers."),
    HoldReason.SCREENING: ("Your payout is being checked.", "People must look at it."),
    HoldReason.ALARM: ("Your payout is being checked.", "People must look at an alarm."),
    HoldReason.NOT_BEFORE: ("Your payout is planned for later.", "It goes on at not_before."),
}
_WORDS: Final = {
    State.RECEIVED: ("Your payout has been ordered.", "The signer looks at it next."),
    State.HELD: ("Your payout has been ordered.", "The signer looks at it next."),
    State.AWAITING_APPROVAL: ("Your payout is being checked.", "People must approve it."),
    State.READY: ("Your payout is being prepared.", "It is put into a chain transaction, and signed."),
    State.PLANNED: ("Your payout is being prepared.", "It is put into a chain transaction, and signed."),
    State.SIGNED: ("Your payout is on its way.", "It waits to be confirmed by the network."),
    State.BROADCAST: ("Your payout is on its way.", "It waits to be confirmed by the network."),
    State.CONFIRMED: ("Your payout is on its way.", "It is confirmed, and waits until that is final."),
    State.SETTLED: ("Your payout has been paid.", "Nothing: it is final."),
    State.DECLINED: ("Your payout was not approved.", "Nothing; another payout may replace it."),
    State.CANCELLED: ("Your payout was cancelled.", "Nothing; another payout may replace it."),
    State.EXPIRED: ("Your payout was not made in time.", "Nothing; another payout may replace it."),
    State.FAILED: ("Your payout could not be made.", "Look at status_reason; another payout may replace it."),
    State.RETURNED: ("Your payout came back.", "Check the payee's details; another payout may replace it."),
}


def explain(state: State, hold: Hold | None) -> tuple[str, str]:
    """What the payee may be told, and what happens next."""
    if hold is not None and state in (State.RECEIVED, State.HELD):
        return _HELD[hold.reason]
    return _WORDS[state]
