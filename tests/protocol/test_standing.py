"""Whose word counts: lookups in roster and policy, suspension, quorum, frozen scopes."""

from dataclasses import replace

import pytest
from tests.protocol.people import ADA, CLEO, DAN, NOW, OTHER, PAYER, READER, STRANGER, VIC, policy, roster

from strongroom.domain.document import DocumentError
from strongroom.domain.ids import KeyId
from strongroom.domain.instant import HOUR_MS, Instant
from strongroom.domain.permissions import Permission
from strongroom.protocol.canonical import CanonicalError
from strongroom.protocol.genesis import Mode
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import roster_hash
from strongroom.protocol.standing import PROPOSER_BARRED_MS, Standing, open_standing, policy_hash


@pytest.fixture
def standing() -> Standing:
    return open_standing(policy(), write_roster(roster()), Mode.SANDBOX)


def test_a_new_organisation_stands_by_its_documents(standing: Standing) -> None:
    assert standing.organisation == roster().organisation
    assert (standing.policy_hash, standing.roster_hash) == (policy_hash(policy()), roster_hash(write_roster(roster())))
    assert (standing.freeze_epoch, standing.frozen, standing.alarms, standing.revoked) == (0, set(), set(), set())


def test_documents_that_dont_fit_open_nothing() -> None:
    with pytest.raises(DocumentError, match="same in policy and roster"):
        open_standing(policy(), write_roster(roster(OTHER)), Mode.SANDBOX)
    with pytest.raises(DocumentError, match="sandboxes only"):
        open_standing(policy(), write_roster(roster()), Mode.PRODUCTION)
    with pytest.raises(CanonicalError):
        open_standing(b"x", write_roster(roster()), Mode.SANDBOX)
    with pytest.raises(DocumentError):
        open_standing(b"{}", write_roster(roster()), Mode.SANDBOX)


def test_people_and_credentials_are_found(standing: Standing) -> None:
    assert standing.person(CLEO.id) == CLEO.person()
    assert standing.person(STRANGER.id) is None
    assert standing.credential(CLEO.id, b"c") == CLEO.person().credentials[0]
    assert standing.credential(CLEO.id, b"d") is None
    assert standing.credential(STRANGER.id, b"s") is None


def test_a_key_speaks_for_its_client_within_its_scopes_until_revoked(standing: Standing) -> None:
    found = standing.client_of(PAYER.key_id, Permission.PAYOUTS_CANCEL)
    assert found == (PAYER.client(), bytes(PAYER.key.verify_key))
    assert standing.client_of(READER.key_id, Permission.PAYOUTS_CANCEL) is None
    assert standing.client_of(KeyId("ak_" + "z" * 26), Permission.PAYOUTS_CANCEL) is None
    standing.revoked.add(PAYER.key_id)
    assert standing.client_of(PAYER.key_id, Permission.PAYOUTS_CANCEL) is None


def test_an_approver_approves_unless_suspended_or_barred(standing: Standing) -> None:
    assert standing.may_approve(ADA.id, NOW)
    assert not standing.may_approve(CLEO.id, NOW)
    assert not standing.may_approve(STRANGER.id, NOW)
    standing.suspended[ADA.id] = NOW
    assert not standing.may_approve(ADA.id, Instant(NOW + 72 * HOUR_MS - 1))
    assert standing.may_approve(ADA.id, Instant(NOW + 72 * HOUR_MS))
    standing.suspended.clear()
    standing.barred[ADA.id] = Instant(NOW + PROPOSER_BARRED_MS)
    assert not standing.may_approve(ADA.id, Instant(NOW + PROPOSER_BARRED_MS - 1))
    assert standing.may_approve(ADA.id, Instant(NOW + PROPOSER_BARRED_MS))


def test_a_quorum_is_of_the_governing_group(standing: Standing) -> None:
    assert standing.has_quorum(frozenset({CLEO.id, DAN.id}))
    assert standing.has_quorum(frozenset({CLEO.id, DAN.id, VIC.id}))
    assert not standing.has_quorum(frozenset({CLEO.id, ADA.id}))
    assert not standing.has_quorum(frozenset())
    standing.suspended[DAN.id] = NOW
    assert not standing.has_quorum(frozenset({CLEO.id}))
    standing.roster = replace(standing.roster, groups=())
    assert not standing.has_quorum(frozenset({CLEO.id, DAN.id}))


def test_a_frozen_scope_stops_what_falls_into_it(standing: Standing) -> None:
    scopes = frozenset({"asset:iso4217:EUR", f"client:{PAYER.id}"})
    assert standing.freezes(scopes) is None
    standing.frozen.add("asset:iso4217:USD")
    assert standing.freezes(scopes) is None
    standing.frozen.add(f"client:{PAYER.id}")
    assert standing.freezes(scopes) == f"client:{PAYER.id}"
    standing.frozen = {"organisation"}
    assert standing.freezes(frozenset()) == "organisation"
