"""People and their sessions: who may what, with which passkeys; who is signed in, from where; and the end of it."""

from typing import Final

from strongroom.console.call import Call
from strongroom.console.duties import Duty, duties_of
from strongroom.console.gate import set_cookie
from strongroom.console.session import draw_id, draw_token, token_hash
from strongroom.console.web import Reply, WebError, redirect
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.protocol.roster import Role
from strongroom.store import console, console_lists

INVITATION_LIFE_MS: Final = DAY_MS
BASELINE_MS: Final = 28 * DAY_MS


async def show(call: Call) -> Reply:
    async with call.service.pool.acquire() as connection:
        organisation = call.who.session.organisation
        credentials = await console.credentials_of(connection, organisation)
        invitations = await console.invitations(connection, organisation, call.now)
    people = call.who.mirror.roster.people
    return call.page(
        "people.html", people=people, credentials=credentials, invitations=invitations,
        duties={each.id: sorted(duties_of(each.roles)) for each in people}, roles=list(Role), link=None,
    )


async def invite(call: Call) -> Reply:
    """Somebody shall make a passkey: for who had one before, a second admin has to consent."""
    visitor = call.who
    person = visitor.mirror.person(call.form.get("person", ""))
    if person is None:
        raise WebError(422, "person: is nobody in the roster")
    if person.id == visitor.person.id:
        raise WebError(403, "Nobody invites themselves: ask another admin.")
    name = draw_id("inv_")
    async with call.service.pool.acquire() as connection:
        expires = Instant(call.now + INVITATION_LIFE_MS)
        await console.invite(
            connection, name, visitor.session.organisation, person.id, visitor.person.id, call.seat.network, expires,
            call.now,
        )
    return await _consented(call, name)


async def consent(call: Call) -> Reply:
    return await _consented(call, call.form.get("invitation", ""))


async def _consented(call: Call, invitation: str) -> Reply:
    """With the last consent the link is drawn, and shown to who gave it, once."""
    visitor, token = call.who, draw_token()
    async with call.service.pool.acquire() as connection:
        organisation = visitor.session.organisation
        enough = await console.consent(
            connection, invitation, organisation, visitor.person.id, token_hash(token), call.seat.network, call.now
        )
        if enough is None:
            raise WebError(409, "This invitation is used, too old, your own, or has all consents.")
        credentials = await console.credentials_of(connection, organisation)
        invitations = await console.invitations(connection, organisation, call.now)
    people = visitor.mirror.roster.people
    return call.page(
        "people.html", people=people, credentials=credentials, invitations=invitations,
        duties={each.id: sorted(duties_of(each.roles)) for each in people}, roles=list(Role),
        link=f"{call.service.config.origin}/invited/{token}" if enough else "",
    )


async def end_credential(call: Call) -> Reply:
    async with call.service.pool.acquire() as connection:
        done = await console.end_credential(
            connection, call.form.get("credential", ""), call.who.session.organisation, call.who.person.id,
            call.seat.network, call.now,
        )
    if not done:
        raise WebError(404, "There is no such passkey.")
    return redirect("/people")


async def sessions(call: Call) -> Reply:
    """One's own, or everybody's for who may see them; with the hours of the week in which a person is here."""
    visitor = call.who
    sees_all = Duty.SESSIONS_SEE in visitor.duties
    shown = visitor.mirror.person(call.request.query.get("person", "")) if sees_all else None
    whose = shown or visitor.person
    async with call.service.pool.acquire() as connection:
        live = await console.live_sessions(
            connection, visitor.session.organisation, None if sees_all else visitor.person.id,
            Instant(call.now - call.service.config.idle_ms), call.now,
        )
        hours = await console_lists.acts_by_hour_of_week(connection, whose.id, Instant(call.now - BASELINE_MS))
    return call.page(
        "sessions.html", live=live, whose=whose, hours=hours, most=max(hours.values(), default=1), sees_all=sees_all,
    )


async def end_own(call: Call) -> Reply:
    """One's own session, or all of one's own."""
    form, session = call.request.form(), call.who.session
    async with call.service.pool.acquire() as connection:
        live = await console.live_sessions(
            connection, session.organisation, session.person, Instant(0), call.now)
        ids = [each.id for each in live if form.get("session") in (each.id, "all")]
        await console.end(connection, ids, "ended by its person", session.person, call.seat.network, call.now)
    if session.id in ids:
        return redirect("/sign-in", [set_cookie(call.service, "")])
    return redirect("/sessions")


async def end_others(call: Call) -> Reply:
    """Sessions of one other person, with the passkey."""
    async with call.service.pool.acquire() as connection:
        live = await console.live_sessions(
            connection, call.who.session.organisation, None, Instant(0), call.now)
        ids = [each.id for each in live if each.person == call.form.get("person")]
        await console.end(connection, ids, "ended by another", call.who.person.id, call.seat.network, call.now)
    return redirect("/sessions")
