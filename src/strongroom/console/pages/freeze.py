"""Stopping payments, and letting them go on: links to the station, which gives the word to guard itself.

This page is only a way there: guard has a listener of its own, and an officer's word needs nothing of the console.
"""

import json

from strongroom.console.call import Call
from strongroom.console.station import asked, instruct_link
from strongroom.console.web import Reply
from strongroom.domain.document import Fields
from strongroom.protocol import station_link
from strongroom.protocol.approval import take_assertion
from strongroom.protocol.negative import Action
from strongroom.store import console
from strongroom.store.console import Instruction


async def show(call: Call) -> Reply:
    visitor = call.who
    async with call.service.pool.acquire() as connection:
        found = await console.instructions(connection, visitor.session.organisation)
    policy = visitor.mirror.policy
    scopes = [("organisation", "All payments of this organisation")]
    scopes += [(f"network:{name}", "Only on this network") for name in sorted(policy.wallets)]
    scopes += [(f"asset:{rule.asset}", f"Only {rule.symbol}") for rule in policy.assets.values()]
    return call.page(
        "freeze.html", scopes=[(scope, text, instruct_link(call, Action.FREEZE, scope)) for scope, text in scopes],
        unfreeze=instruct_link(call, Action.UNFREEZE, "organisation"),
        open_ones=[(each, _join(call, each)) for each in found if each.control_length is None
                   and each.expires > call.now and not _has_asserted(call, each)],
        kept=[each for each in found if each.control_length is not None][:20],
    )


def _has_asserted(call: Call, each: Instruction) -> bool:
    return any(given["person"] == call.who.person.id for given in json.loads(each.assertions))


def _join(call: Call, each: Instruction) -> str:
    """The link by which one more person asserts the same record."""
    given = [take_assertion(Fields(value)) for value in json.loads(each.assertions)]
    document = station_link.instruct(
        asked(call), call.who.session.organisation, Action(each.action), each.object, record=each.record.encode(),
        given=given,
    )
    return station_link.station_url(call.service.config.station_origin, document)
