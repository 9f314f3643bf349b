"""A payout whose amount no asset can have: it can't be decided like others, and is refused in the same order."""

from strongroom.domain.errors import Code, Refusal
from strongroom.domain.invariant import InvariantError
from strongroom.store import beneficiaries, payouts
from strongroom.store.record import Caller, Evidence, UnpayableRequest
from strongroom.store.writing import Writing


async def refuse_unpayable(to: Writing, caller: Caller, request: UnpayableRequest, evidence: Evidence) -> Refusal:
    """What the contract names first: a key used before, an unknown beneficiary or asset, and then the amount."""
    if await payouts.read_at_intake(to.connection, caller.organisation, request.id) is not None:
        difference = await payouts.first_difference(to.connection, request.id, evidence)
        if difference is None:
            raise InvariantError(f"payout {request.id} has an amount that can't be")
        return difference
    if await beneficiaries.read(to.connection, caller.organisation, request.beneficiary) is None:
        return Refusal(Code.NOT_FOUND, f"there is no beneficiary {request.beneficiary}", "beneficiary")
    if request.asset not in to.state.policy_of(caller.organisation).assets:
        return Refusal(Code.ASSET_UNKNOWN, f"the policy has no asset {request.asset}", "asset")
    return request.refusal
