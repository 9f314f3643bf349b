"""The first page: what needs me, whether payments go out, and what went out."""

from strongroom.console.call import Call
from strongroom.console.draw import bars
from strongroom.console.duties import Duty
from strongroom.console.web import Reply
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.domain.policy import Counts, LimitScope
from strongroom.store import console_pages, wallets


async def show(call: Call) -> Reply:
    visitor = call.who
    organisation = visitor.session.organisation
    since = Instant(call.now - DAY_MS)
    async with call.service.pool.acquire() as connection:
        counts = await console_pages.counts_by_state(connection, organisation)
        waiting = await console_pages.waiting_count(connection, organisation)
        mine = (
            await console_pages.waiting(connection, organisation, 0, 5) if Duty.APPROVALS_SEE in visitor.duties else []
        )
        signed = await console_pages.signed_since(connection, organisation, since)
        spent = await console_pages.reference_since(connection, organisation, since)
        held = await wallets.read_wallets(connection, organisation)
    hours = list(range(since // HOUR_MS, call.now // HOUR_MS + 1))
    flows = []
    for wallet in held:
        by_hour = {hour: (minor, payouts) for asset, hour, minor, payouts in signed if asset == wallet.asset}
        flows.append({
            "wallet": wallet, "minor": sum(minor for minor, _ in by_hour.values()),
            "payouts": sum(payouts for _, payouts in by_hour.values()),
            "bars": bars([by_hour.get(hour, (0, 0))[0] for hour in hours], 180, 36),
        })
    flows.sort(key=lambda flow: -int(str(flow["payouts"])))
    return call.page(
        "overview.html", counts=counts, waiting=waiting, mine=mine, flows=flows, spent=spent, limit=_limit(call),
    )


def _limit(call: Call) -> int | None:
    """The smallest daily limit over all of the organisation, in reference units."""
    limits = [
        limit.maximum_reference_minor for limit in call.who.mirror.policy.limits
        if limit.scope is LimitScope.ORGANISATION and limit.span_ms == DAY_MS and limit.counts is Counts.ALL
    ]
    return min(limits, default=None)
