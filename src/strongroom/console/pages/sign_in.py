"""Signing in and out: a passkey, nothing else, and no second door.

The first of a person's passkeys is made by an invitation; in a sandbox, a software key may sign in for a person who
tries it out, by a link that is good for a minute and once.
"""

from typing import Final

from strongroom.console.call import Call
from strongroom.console.gate import rotate, set_cookie
from strongroom.console.mirror import roles_text
from strongroom.console.passkey import PasskeyError, SignedIn, check_assertion, read_assertion, read_registration
from strongroom.console.session import CHALLENGE_LIFE_MS, draw_id, draw_token, token_hash
from strongroom.console.step_up import NETWORK, ask, hear
from strongroom.console.web import JSON, Reply, WebError, redirect
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object
from strongroom.store import console
from strongroom.store.console import ConsoleCredential, ConsoleSession
from strongroom.store.session import Session

HANDOFF_LIFE_MS: Final = MINUTE_MS
NAME_MAXIMUM: Final = 60
_NOT_KNOWN: Final = "This passkey isn't known here, or was taken away."


def answer(value: dict[str, JsonValue], status: int = 200) -> Reply:
    return Reply(status, encode(value), JSON)


async def show(call: Call) -> Reply:
    return call.page("sign_in.html", over="over" in call.request.query)


async def challenge(call: Call) -> Reply:
    """What the passkey is to sign."""
    value = token_hash(draw_token())
    async with call.service.pool.acquire() as connection:
        expires = Instant(call.now + CHALLENGE_LIFE_MS)
        await console.challenge(connection, value, "sign_in", None, None, expires, call.now)
    return answer({"challenge": value.hex(), "relying_party": call.service.config.relying_party.id})


async def sign_in(call: Call) -> Reply:
    """From a browser: a session of its own."""
    signed = _read(call)
    async with call.service.pool.acquire() as connection:
        credential = await _heard(connection, call, signed)
        if credential.kind != "passkey":
            raise WebError(403, "A software key signs in by a link: strongroom console sign-in")
        cookie = await _open(connection, call, credential)
    return Reply(200, encode({"next": "/"}), JSON, [cookie])


async def hand_off(call: Call) -> Reply:
    """From a sandbox's command line: a link for a browser, in place of a session."""
    if not call.service.config.is_sandbox:
        raise WebError(404, "There is no such page.")
    signed, token = _read(call), draw_token()
    async with call.service.pool.acquire() as connection:
        credential = await _heard(connection, call, signed)
        if credential.kind != "software":
            raise WebError(403, "A passkey signs in on the page.")
        expires = Instant(call.now + HANDOFF_LIFE_MS)
        await console.challenge(
            connection, token_hash(token), "sign_in", None, credential.credential, expires, call.now)
    return answer({"link": f"{call.service.config.origin}/sign-in/{token}"})


async def follow(call: Call) -> Reply:
    """A link of `hand_off`."""
    async with call.service.pool.acquire() as connection:
        found = await console.answer(connection, token_hash(call.parameters[0]), "sign_in", None, call.now)
        credential = None if found is None or found[0] is None else await console.find_credential(connection, found[0])
        if credential is None or not call.service.config.is_sandbox:
            raise WebError(403, "This link was used, or is too old. Make another one: strongroom console sign-in")
        cookie = await _open(connection, call, credential)
    return redirect("/", [cookie])


async def sign_out(call: Call) -> Reply:
    session = call.who.session
    async with call.service.pool.acquire() as connection:
        await console.end(connection, [session.id], "signed out", session.person, call.seat.network, call.now)
    return redirect("/sign-in", [set_cookie(call.service, "")])


async def invited(call: Call) -> Reply:
    """The page that an invitation's link opens."""
    async with call.service.pool.acquire() as connection:
        found = await console.invited(connection, token_hash(call.parameters[0]), call.now)
        if found is None:
            raise WebError(403, "This invitation was used, or is too old. Ask an admin for another one.")
        mirror = await call.service.mirrors.read(connection, found[0])
    return call.page("invited.html", name=mirror.name(found[1]), person=found[1], token=call.parameters[0])


async def enrol(call: Call) -> Reply:
    """The passkey that an invited person made."""
    value = _json(call)
    party = call.service.config.relying_party
    try:
        passkey, challenge_value = read_registration(value, party)
    except PasskeyError as fault:
        raise WebError(422, str(fault)) from fault
    name = str(value.get("name", ""))[:NAME_MAXIMUM] or "a passkey"
    async with call.service.pool.acquire() as connection:
        if await console.answer(connection, challenge_value, "sign_in", None, call.now) is None:
            raise WebError(403, "The page is too old. Open the link again.")
        person = await console.enrol(
            connection, token_hash(call.parameters[0]), passkey.credential, passkey.public_key, "passkey", name,
            call.now,
        )
    if person is None:
        raise WebError(403, "This invitation was used, or is too old, or the passkey is somebody's already.")
    return answer({"next": "/sign-in"}, 201)


async def confirm_network(call: Call) -> Reply:
    return call.page("confirm_network.html", network=call.seat.network)


async def network_confirmed(call: Call) -> Reply:
    """With the passkey from the new network, the session goes on, under another token."""
    form = call.request.form()
    session = call.who.session
    fields = {name: value for name, value in form.items() if name != "step_up"}
    if fields != {"network": call.seat.network}:
        raise WebError(403, "The network changed again. Try once more.")
    async with call.service.pool.acquire() as connection:
        await hear(connection, call, NETWORK, fields, form.get("step_up", ""))
        await console.act(connection, session.organisation, session.person, session.id, "network_confirmed",
                          call.seat.network, None, call.seat.network, call.now)
        await rotate(connection, call, session, roles_text(call.who.person), call.now)
    return redirect("/")


async def step_up(call: Call) -> Reply:
    """The challenge for one change, as {act, fields}."""
    value = _json(call)
    act, fields = value.get("act"), value.get("fields")
    if not isinstance(act, str) or not isinstance(fields, dict):
        raise WebError(422, "act and fields say what is to be changed")
    texts = {str(name): str(each) for name, each in fields.items()}
    async with call.service.pool.acquire() as connection:
        challenge_value = await ask(connection, call, act, texts)
        own = await console.credentials_of(connection, call.who.session.organisation)
    ids: list[JsonValue] = [each.credential for each in own if each.person == call.who.person.id]
    party = call.service.config.relying_party
    return answer({"challenge": challenge_value.hex(), "credentials": ids, "relying_party": party.id})


async def _heard(connection: Session, call: Call, signed: SignedIn) -> ConsoleCredential:
    """Whose passkey it is that answered our challenge. Raises: WebError."""
    if await console.answer(connection, signed.challenge, "sign_in", None, call.now) is None:
        raise WebError(403, "The page is too old. Try again.")
    credential = await console.find_credential(connection, signed.credential)
    if credential is None:
        raise WebError(403, _NOT_KNOWN)
    try:
        check_assertion(signed, credential.public_key, call.service.config.relying_party)
    except PasskeyError as fault:
        await console.act(connection, credential.organisation, credential.person, None, "sign_in_refused",
                          credential.credential, str(fault), call.seat.network, call.now)
        raise WebError(403, f"The passkey's answer doesn't hold: {fault}") from fault
    return credential


async def _open(connection: Session, call: Call, credential: ConsoleCredential) -> tuple[bytes, bytes]:
    """A new session, whatever cookie the browser sent; the cookie for it. Raises: WebError."""
    mirror = await call.service.mirrors.read(connection, credential.organisation)
    person = mirror.person(credential.person)
    if person is None:
        raise WebError(403, _NOT_KNOWN)
    token = draw_token()
    await console.sign_in(connection, ConsoleSession(
        id=draw_id("se_"), organisation=credential.organisation, person=credential.person,
        credential=credential.credential, kind=credential.kind, token_hash=token_hash(token),
        browser=call.seat.browser, browser_hash=call.seat.browser_hash, network=call.seat.network,
        roles=roles_text(person), created_at=call.now, seen_at=call.now,
        expires_at=Instant(call.now + call.service.config.life_ms), is_confirmed=True, stepped_up_at=None,
        ended_at=None, ended_why=None,
    ))
    return set_cookie(call.service, token)


def _read(call: Call) -> SignedIn:
    try:
        return read_assertion(_json(call))
    except PasskeyError as fault:
        raise WebError(422, str(fault)) from fault


def _json(call: Call) -> dict[str, JsonValue]:
    """Raises: WebError."""
    if call.request.headers.get("content-type") != JSON:
        raise WebError(415, "this takes JSON")
    try:
        return parse_object(call.request.body)
    except CanonicalError as fault:
        raise WebError(400, str(fault)) from fault
