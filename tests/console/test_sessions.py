"""Sessions: what a stolen, copied, fixed or old cookie is worth, and what a step-up lets through.

The attacker has a cookie, or a page of another origin, or an answer of a passkey that was given before; they want to be
somebody on these pages. The bound is nothing.
"""

from collections.abc import AsyncIterator

import pytest
from tests.console.world import CAFE, CHROME, FIREFOX, HOME, ORIGIN, STATION, World

from strongroom.console.duties import GRANTS, Duty
from strongroom.console.gate import admit
from strongroom.console.rates import Rates
from strongroom.console.routes import find_route
from strongroom.console.web import Request, WebError
from strongroom.domain.instant import HOUR_MS, MINUTE_MS
from strongroom.protocol.roster import Role


def test_a_person_signs_in_and_out(world: World) -> None:
    ada = world.visitor()
    assert ada.get("/").headers["location"] == "/sign-in"
    assert ada.sign_in().headers["location"] == "/"
    assert "Ada Example" in ada.get("/").text
    before = ada.cookie
    assert ada.post("/sign-out", {}).status_code == 303
    ada.cookie = before
    assert ada.get("/").headers["location"] == "/sign-in?over=1"
    assert world.acts() == ["sign_in", "end_session"]


def test_each_sign_in_draws_a_new_token_whatever_cookie_came(world: World) -> None:
    """Session fixation: the attacker knows the cookie that the victim's browser has before."""
    ada = world.visitor()
    ada.cookie = "known-to-the-attacker"
    ada.sign_in()
    assert ada.cookie not in (None, "known-to-the-attacker")
    thief = world.visitor()
    thief.cookie = "known-to-the-attacker"
    assert thief.get("/").headers["location"] == "/sign-in"


def test_a_cookie_in_another_browser_ends_the_session_for_both(world: World) -> None:
    ada = world.signed_in()
    thief = world.visitor(browser=CHROME)
    thief.cookie = ada.cookie
    assert thief.get("/payouts").headers["location"].startswith("/sign-in")
    assert ada.get("/payouts").headers["location"].startswith("/sign-in")
    assert world.acts()[-1] == "end_session"


def test_a_known_browser_on_a_new_network_shows_the_passkey_first(world: World) -> None:
    ada = world.signed_in()
    old = ada.cookie
    ada.address = CAFE
    assert ada.get("/payouts").headers["location"] == "/confirm-network"
    assert ada.post("/sessions/end", {"session": "all"}).status_code == 403
    network = {"network": "203.0.113.0/24"}
    assert ada.post("/confirm-network", network).status_code == 403
    given = ada.step_up("use this network", network)
    assert ada.post("/confirm-network", {**network, "step_up": given}).status_code == 303
    assert ada.get("/payouts").status_code == 200
    assert ada.cookie != old
    thief = world.visitor(address=CAFE)
    thief.cookie = old
    assert thief.get("/payouts").headers["location"] == "/sign-in"


@pytest.mark.parametrize("wait", [30 * MINUTE_MS, 12 * HOUR_MS])
def test_a_session_ends_unused_and_in_any_case(world: World, wait: int) -> None:
    ada = world.signed_in()
    step = 10 * MINUTE_MS if wait > HOUR_MS else wait
    for _ in range(wait // step - 1):
        world.now += step
        assert ada.get("/").status_code == 200
    world.now += step
    assert ada.get("/").headers["location"] == "/sign-in?over=1"


@pytest.mark.parametrize(("headers", "why"), [
    ({"origin": "http://evil.localhost:8421"}, "another origin"), ({"origin": "null"}, "no origin"),
    ({"origin": STATION}, "the station"), ({"sec-fetch-site": "cross-site"}, "another site"),
])
def test_a_change_comes_from_a_page_of_ours(world: World, headers: dict[str, str], why: str) -> None:
    ada = world.signed_in()
    assert ada.post("/sessions/end", {"session": "all"}, headers=headers).status_code == 403, why
    assert ada.get("/").status_code == 200


@pytest.mark.parametrize("faults", [
    {"flags": 0x01}, {"flags": 0x04}, {"origin": STATION}, {"rp": "station.localhost"}, {"type": "webauthn.create"},
    {"challenge": bytes(32)}, {"rp": "localhost"}, {"flags": 0x45},
])
def test_an_answer_of_a_passkey_that_shows_less_opens_nothing(world: World, faults: dict[str, object]) -> None:
    """User verification off, another relying party, another page, another challenge."""
    ada = world.visitor(faults=faults)  # type: ignore[arg-type]  # faults aren't a seat's text
    assert ada.sign_in().status_code == 403
    assert ada.cookie is None


def test_an_answer_opens_one_session_and_a_link_one_page(world: World) -> None:
    ada = world.visitor()
    challenge = bytes.fromhex(ada.json("/sign-in/challenge", {}).json()["challenge"])
    answer = ada.assertion(challenge)
    link = ada.json("/sign-in/hand-off", answer).json()["link"].removeprefix(ORIGIN)
    assert ada.json("/sign-in/hand-off", answer).status_code == 403
    assert ada.get(link).status_code == 303
    assert world.visitor().get(link).status_code == 403


def test_a_challenge_is_too_old_after_five_minutes(world: World) -> None:
    ada = world.visitor()
    challenge = bytes.fromhex(ada.json("/sign-in/challenge", {}).json()["challenge"])
    world.now += 5 * MINUTE_MS + 1
    assert ada.json("/sign-in/hand-off", ada.assertion(challenge)).status_code == 403


def test_a_step_up_lets_exactly_one_change_through(world: World) -> None:
    cleo = world.signed_in("cleo")
    ada = world.signed_in("ada")
    fields = {"person": world.person("ada")["id"]}
    assert cleo.post("/sessions/end-others", fields).status_code == 403
    given = cleo.step_up("end sessions", fields)
    other = {"person": world.person("ben")["id"]}
    assert cleo.post("/sessions/end-others", {**other, "step_up": given}).status_code == 403
    given = cleo.step_up("invite", fields)
    assert cleo.post("/sessions/end-others", {**fields, "step_up": given}).status_code == 403
    given = cleo.step_up("end sessions", fields)
    assert ada.get("/").status_code == 200
    assert cleo.post("/sessions/end-others", {**fields, "step_up": given}).status_code == 303
    assert ada.get("/").headers["location"].startswith("/sign-in")
    assert cleo.post("/sessions/end-others", {**fields, "step_up": given}).status_code == 403  # once


def test_a_step_up_is_too_old_after_five_minutes_and_is_its_sessions_alone(world: World) -> None:
    cleo, dan = world.signed_in("cleo"), world.signed_in("dan")
    fields = {"person": world.person("ada")["id"]}
    given = cleo.step_up("end sessions", fields)
    assert dan.post("/sessions/end-others", {**fields, "step_up": given}).status_code == 403
    given = cleo.step_up("end sessions", fields)
    world.now += 5 * MINUTE_MS + 1
    assert cleo.post("/sessions/end-others", {**fields, "step_up": given}).status_code == 403


def test_whoever_had_a_passkey_needs_two_admins_for_another(world: World) -> None:
    cleo = world.signed_in("cleo")
    fields = {"person": world.person("ada")["id"]}
    answer = cleo.post("/people/invite", {**fields, "step_up": cleo.step_up("invite", fields)})
    assert answer.status_code == 200
    assert "second admin" in answer.text
    assert "/invited/" not in answer.text
    invitation = world.owner.value("SELECT id FROM strongroom.console_invitations")
    again = {"invitation": invitation}
    cleo.post("/people/consent", {**again, "step_up": cleo.step_up("consent", again)})
    assert world.owner.value("SELECT count(*) FROM strongroom.console_invitation_tokens") == 0


def test_nobody_invites_themselves(world: World) -> None:
    cleo = world.signed_in("cleo")
    fields = {"person": world.person("cleo")["id"]}
    assert cleo.post("/people/invite", {**fields, "step_up": cleo.step_up("invite", fields)}).status_code == 403


def test_a_cookie_is_for_the_console_alone_and_no_script_reads_it(world: World) -> None:
    ada = world.visitor()
    given = ada.sign_in().headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {each.strip() for each in given.split(";")}


def test_the_host_must_be_the_consoles(world: World) -> None:
    assert world.visitor().get("/sign-in", headers={"host": "evil.localhost:8421"}).status_code == 421


def test_live_numbers_end_with_the_session(world: World) -> None:
    ada = world.signed_in()
    request = Request("GET", "/live", {}, {"cookie": f"session={ada.cookie}", "user-agent": FIREFOX}, b"", HOME)
    route, parameters = find_route(request)

    async def go() -> AsyncIterator[bytes]:
        reply = await route.handle(await admit(world.app._service, route, parameters, request))
        assert not isinstance(reply.body, bytes)
        return reply.body

    stream = world.runner.run(go())
    assert world.runner.run(anext(stream)).startswith(b"event: numbers")
    world.owner.execute("UPDATE strongroom.console_sessions SET ended_at = 1, ended_why = 'by a test'")
    with pytest.raises(StopAsyncIteration):
        world.runner.run(anext(stream))


def test_two_admins_let_somebody_make_another_passkey_and_the_link_is_shown_to_the_second(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GRANTS, Role.TREASURER, GRANTS[Role.TREASURER] | {Duty.PEOPLE_INVITE})
    cleo, dan = world.signed_in("cleo"), world.signed_in("dan")
    fields = {"person": world.person("ada")["id"]}
    assert "/invited/" not in cleo.post("/people/invite", {**fields, "step_up": cleo.step_up("invite", fields)}).text
    again = {"invitation": world.owner.value("SELECT id FROM strongroom.console_invitations")}
    shown = dan.post("/people/consent", {**again, "step_up": dan.step_up("consent", again)}).text
    token = shown.partition("/invited/")[2].partition("<")[0].partition('"')[0]
    assert "Welcome, Ada Example" in world.visitor().get(f"/invited/{token}").text
    assert dan.post("/people/consent", {**again, "step_up": dan.step_up("consent", again)}).status_code == 409
    assert world.visitor().get(f"/invited/{token}x").status_code == 403


def test_a_passkey_that_is_taken_away_ends_its_sessions_and_opens_none(world: World) -> None:
    ada, cleo = world.signed_in("ada"), world.signed_in("cleo")
    fields = {"credential": world.owner.value(
        "SELECT credential FROM strongroom.console_credentials WHERE person = $1", world.person("ada")["id"])}
    assert cleo.post("/people/end-passkey", fields).status_code == 403
    given = cleo.step_up("end passkey", fields)
    assert cleo.post("/people/end-passkey", {**fields, "step_up": given}).status_code == 303
    assert ada.get("/").headers["location"].startswith("/sign-in")
    assert ada.sign_in().status_code == 403


def test_an_address_that_asks_too_often_waits_and_others_do_not() -> None:
    now = [0]
    rates = Rates(2, lambda: now[0])
    for address in (HOME, HOME, CAFE):
        rates.hit(address)
    with pytest.raises(WebError, match="Too many"):
        rates.hit(HOME)
    rates.hit(CAFE)
    now[0] = 1_000_000_000
    rates.hit(HOME)
