"""Changes of policy and roster, people's own intents, new passkeys: shown from the bytes, and what comes of them."""

import hashlib
import json
import time
from dataclasses import replace
from typing import Any

from fido2 import cbor
from fido2.webauthn import AttestationObject
from tests.browser.browser import Browser
from tests.rules.cases import SMALL, Run
from tests.signer.world import ADA, BEN, CLEO, ORGANISATION, OTTO, Human, World, roster
from tests.station.office import STATION_HOST, TOKEN, Office
from tests.station.test_page import confirm_all, text_of

from strongroom.domain.document import Fields
from strongroom.domain.ids import IdempotencyKey, OrganisationId
from strongroom.domain.policy import POLICY_TYPE
from strongroom.protocol import station_link
from strongroom.protocol.approval import hear, take_assertion
from strongroom.protocol.canonical import encode, record_hash
from strongroom.protocol.identifier import run_id
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.request import INTENT_TYPE, PersonEvidence
from strongroom.protocol.roster import ROSTER_TYPE, Role, roster_hash
from strongroom.protocol.run_tree import item_leaf, run_root
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.standing import open_standing
from strongroom.protocol.station_link import station_url
from strongroom.protocol.webauthn import check_credential_key


def opened(browser: Browser, office: Office, person: Human, document: dict[str, Any], **how: Any) -> Any:
    page = browser.page(**how)
    page.goto(station_url(office.origin, document))
    page.get_by_role("button").or_(page.get_by_role("alert")).first.wait_for()
    office.hand_passkey(browser, page, person)
    return page


def holds(office: Office, record: bytes, record_type: str, assertion: dict[str, str]) -> str:
    """Whose assertion over the record holds, as the signer would check it. Raises: WebauthnError."""
    genesis = office.world.book.genesis
    standing = open_standing(office.world.policy, office.world.roster, genesis.mode)
    given = take_assertion(Fields(assertion))
    return str(hear(record, record_type, given, standing, genesis.relying_party).person)


# Changes.


def next_policy(world: World, **changes: Any) -> bytes:
    before = json.loads(world.policy)
    return encode({**before, "version": 2, "previous": record_hash(POLICY_TYPE, world.policy).hex(), **changes})


def test_a_change_of_the_policy_is_shown_field_by_field_and_agreed_to(browser: Browser, office: Office) -> None:
    tiers = json.loads(office.world.policy)["tiers"]
    tiers[0]["up_to_reference_minor"] = "999999999"
    record = next_policy(office.world, tiers=tiers)
    link = station_link.change(office.asked(CLEO), "policy", record, office.world.policy)
    page = opened(browser, office, CLEO, link, theme="dark")
    rows = page.locator("tbody tr").all_inner_texts()
    assert any("tiers[0].up_to_reference_minor" in row and '"25000"' in row and '"999999999"' in row for row in rows)
    gone, new = (page.locator(f".line.{kind}").all_inner_texts() for kind in ("gone", "new"))
    assert any("25000" in line for line in gone)
    assert any("999999999" in line for line in new)
    confirm_all(page)
    page.get_by_role("button", name="Agree with passkey").click()
    browser.expect(page.get_by_role("status")).to_contain_text("Agreed")
    (body,) = office.console.of("change")
    assert (body["document"], body["record"]) == ("policy", record_hash(POLICY_TYPE, record).hex())
    assert holds(office, record, POLICY_TYPE, body["assertion"]) == CLEO.id


def test_a_new_officer_is_shown_by_name(browser: Browser, office: Office) -> None:
    before = roster()
    people = tuple(replace(each, roles=(Role.OFFICER,)) if each.id == BEN.id else each for each in before.people)
    record = write_roster(replace(before, version=2, previous=roster_hash(office.world.roster), people=people))
    link = station_link.change(office.asked(CLEO), "roster", record, office.world.roster)
    page = opened(browser, office, CLEO, link, size="phone")
    assert "people[1].roles[0]" in text_of(page)
    confirm_all(page)
    page.get_by_role("button").click()
    browser.expect(page.get_by_role("status")).to_be_visible()
    assert holds(office, record, ROSTER_TYPE, office.console.of("change")[0]["assertion"]) == CLEO.id


def test_a_change_shown_against_another_version_is_refused(browser: Browser, office: Office) -> None:
    """The attacker has the console, and shows a harmless difference: to a version that isn't the one in force."""
    harmless = next_policy(office.world)
    for record, previous, reason in (
        (harmless, next_policy(office.world, reference_currency="EUR"), "previous: isn't the version"),
        (harmless, None, "previous: isn't the version"),
        (next_policy(office.world, version=3), office.world.policy, "version: doesn't follow"),
        (encode({**json.loads(harmless), "organisation": "org_" + "z" * 26}), office.world.policy, "organisation"),
        (office.world.roster, office.world.policy, "type: must be"),
    ):
        link = station_link.change(office.asked(CLEO), "policy", record, previous)
        page = opened(browser, office, CLEO, link)
        browser.expect(page.get_by_role("alert")).to_contain_text(reason)
        page.close()


# Intents.


def intent_record(world: World, person: Human, path: str, body: Any) -> bytes:
    return encode({
        "body": body, "created_ms": time.time_ns() // 1_000_000, "deployment": world.book.deployment,
        "idempotency_key": "own", "organisation": ORGANISATION, "path": path, "person": person.id, "type": INTENT_TYPE,
    })


def test_a_person_asks_for_a_payout_and_the_signer_takes_it(browser: Browser, office: Office) -> None:
    world = office.world
    to = world.cooled()
    world.pass_by(time.time_ns() // 1_000_000 - world.times.wall_ms)
    record = intent_record(world, OTTO, "/v1/payouts", world.payout_body(to, SMALL, metadata={"note": "<i>x</i>"}))
    link = station_link.intent(office.asked(OTTO), record, destination=to.encode(), policy=world.policy)
    page = opened(browser, office, OTTO, link, size="phone")
    assert "0.00020000 SIM" in text_of(page)
    assert '{"note":"<i>x</i>"}' in text_of(page)
    assert page.locator(".address .groups").get_attribute("aria-label") == to.address
    confirm_all(page)
    page.get_by_role("button", name="Ask for it with passkey").click()
    browser.expect(page.get_by_role("status")).to_be_visible()
    (body,) = office.console.of("intent")
    assert body["record"].encode() == record
    world.pass_by(time.time_ns() // 1_000_000 - world.times.wall_ms)
    world.take(Ask.INTENTS, [PersonEvidence(record, take_assertion(Fields(body["assertion"])))])


def test_a_person_asks_for_a_run(browser: Browser, office: Office) -> None:
    run = Run(office.world, [SMALL, SMALL + 1], key="own", person=OTTO)
    office.send_items([], run.records)
    identifier = run_id(ORGANISATION, OTTO.id, IdempotencyKey("own"))
    root = run_root(item_leaf(item, identifier, index) for index, item in enumerate(run.items)).hex()
    body = {"items": run.items, "seal": {**run.seal, "root": root}}
    record = intent_record(office.world, OTTO, "/v1/payout-runs", body)
    page = opened(browser, office, OTTO, station_link.intent(office.asked(OTTO), record, items=TOKEN))
    assert "2 payouts" in text_of(page)
    wrong = intent_record(office.world, OTTO, "/v1/payout-runs", {**body, "seal": {**run.seal, "root": "0" * 64}})
    page = opened(browser, office, OTTO, station_link.intent(office.asked(OTTO), wrong, items=TOKEN))
    browser.expect(page.get_by_role("alert")).to_contain_text("seal.root: isn't the root of these items")


OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/beneficiaries", {"name": "Payee", "destination": {"network": "sim:sandbox", "address": "sim1abc"}},
     "sim1abc"),
    ("/v1/beneficiaries", {"name": "Payee", "destination": {
        "network": "sepa", "account_holder": "A. Holder", "country": "DE", "iban": "DE89370400440532013000",
    }}, "A. Holder"),
    (f"/v1/beneficiaries/ben_{'b' * 26}/destinations", {
        "network": "sim:sandbox", "address": "sim1xyz", "version": 2, "previous": "ab" * 32}, "it was changed before"),
    (f"/v1/payouts/po_{'b' * 26}/cancel", {"idempotency_key": "k"}, "Cancel"),
]


def test_other_things_that_a_person_asks_for_are_shown(browser: Browser, office: Office) -> None:
    page = browser.page(size="phone")
    for path, body, said in OTHERS:
        record = intent_record(office.world, OTTO, path, body)
        page.goto("about:blank")
        page.goto(station_url(office.origin, station_link.intent(office.asked(OTTO), record)))
        page.get_by_role("button").wait_for()
        labels = [each.get_attribute("aria-label") or "" for each in page.locator(".groups").all()]
        assert said in text_of(page) or said in labels


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"person": ADA.id}, "person: isn't who is asked"), ({"deployment": "0" * 16}, "deployment: is another"),
    ({"created_ms": 1}, "created_ms: isn't now"), ({"path": "/v1/anything"}, "path: isn't one"),
    ({"body": []}, "body: must be an object"), ({"more": 1}, "more: is unknown"),
    ({"body": {"amount": "1"}}, "body.asset: is missing"),
]


def test_an_intent_that_isnt_whole_or_not_theirs_is_refused(browser: Browser, office: Office) -> None:
    body = office.world.payout_body(office.world.cooled(), SMALL)
    made, page = json.loads(intent_record(office.world, OTTO, "/v1/payouts", body)), browser.page()
    for wrong, reason in WRONG:
        page.goto("about:blank")
        page.goto(station_url(office.origin, station_link.intent(office.asked(OTTO), encode({**made, **wrong}))))
        browser.expect(page.get_by_role("alert")).to_contain_text(reason)


def test_a_payout_is_shown_with_its_own_destination_or_not_at_all(browser: Browser, office: Office) -> None:
    mine, other = office.world.cooled(), office.world.cooled()
    record = intent_record(office.world, OTTO, "/v1/payouts", office.world.payout_body(mine, SMALL))
    for destination, reason in ((None, "destination: is missing"), (other.encode(), "its destination wasn't sent")):
        link = station_link.intent(office.asked(OTTO), record, destination=destination)
        page = opened(browser, office, OTTO, link)
        browser.expect(page.get_by_role("alert")).to_contain_text(reason)


# Passkeys.


def test_a_new_passkey_is_made_for_the_stations_host_and_handed_over(browser: Browser, office: Office) -> None:
    asked = replace(office.asked(BEN), credentials=())
    page = browser.page(size="phone")
    page.goto(station_url(office.origin, station_link.enrol(asked, OrganisationId(ORGANISATION), bytes(range(32)))))
    authenticator = browser.authenticator(page)
    page.get_by_role("button", name="Make a passkey for approvals").click()
    browser.expect(page.get_by_role("status")).to_contain_text("Made and handed over")
    (body,) = office.console.of("enrol")
    attested = AttestationObject(bytes.fromhex(body["attestation_object"])).auth_data
    assert attested.credential_data is not None
    assert attested.credential_data.credential_id.hex() == body["credential"]
    assert attested.rp_id_hash == hashlib.sha256(STATION_HOST.encode()).digest()
    assert attested.flags & 0x05 == 0x05
    client_data = json.loads(bytes.fromhex(body["client_data"]))
    assert (client_data["type"], client_data["origin"]) == ("webauthn.create", office.origin)
    (kept,) = browser.credentials(page, authenticator)
    assert (kept["rpId"], kept["isResidentCredential"]) == (STATION_HOST, True)
    assert (body["person"], body["organisation"]) == (BEN.id, ORGANISATION)
    check_credential_key(cbor.encode(attested.credential_data.public_key))
