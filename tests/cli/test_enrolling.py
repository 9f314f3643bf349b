"""Credentials on security keys: made by the command, taken into a roster, and looked at by production's genesis.

The keys are in software, with a maker's real certificates; command line, terminal and files are real."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import command
from tests.cli.maker import ORIGIN, PARTY, certificates, cose, enrolment, made_id, private_key, write_makers
from tests.cli.terminal import at_a_terminal, with_keys
from tests.cli.test_init import Ceremony
from tests.cli.virtual_key import described

from strongroom.cli import security_key
from strongroom.cli.enrol import make_credential
from strongroom.cli.enrolment import EnrolmentError, check_enrolment, read_enrolment, read_makers
from strongroom.cli.founding import FoundingError
from strongroom.cli.output import Exit, Stop
from strongroom.protocol.roster import Credential, CredentialClass
from strongroom.protocol.webauthn import RelyingParty

PIN = "739-hunter"
STATION = RelyingParty(PARTY, frozenset([ORIGIN]))
MAKERS = (certificates("maker")[0],)


def enrol(folder: Path, key: dict[str, Any], name: str, *more: str, typed: str = PIN) -> tuple[int, str]:
    return at_a_terminal(with_keys(
        folder, [key], "init", "credential", "--name", name, "--class", "terminal", "--relying-party", PARTY,
        "--origin", ORIGIN, "--out", str(folder / f"{name}.json"), *more,
    ), typed)


def test_draft_credentials_and_production_genesis_go_together(tmp_path: Path) -> None:
    policy, roster = tmp_path / "policy.json", tmp_path / "roster.json"
    drafted = command("init", "draft", "--team", "3", "--policy", str(policy), "--roster", str(roster))
    assert drafted.code == 0, drafted.err
    document = json.loads(roster.read_text())
    for number, person in enumerate(document["people"]):
        person["name"] = f"Person {number}"
        code, seen = enrol(tmp_path, {"pin": PIN, "made_seed": 50 + number}, person["name"])
        assert (code, PIN in seen) == (0, False), seen
        printed = json.loads(seen[seen.index("{") : seen.rindex("}") + 1])
        assert printed == {
            "class": "terminal", "id": made_id(50 + number).hex(), "public_key": cose(private_key(50 + number)).hex(),
        }
        person["credentials"] = [printed]
    for number, client in enumerate(document["clients"]):
        client["custodians"] = []
        client["keys"][0]["public_key"] = f"{number + 1:064x}"
    keys = {name: f"{at}" * 64 for at, name in enumerate(("statement", "guard", "checkpoint"), start=1)}
    made = Ceremony(tmp_path, json.loads(policy.read_text()), document, keys)
    made.write()
    asked = [
        "genesis", "--mode", "production", "--relying-party", PARTY, "--origin", ORIGIN, "--policy", str(policy),
        "--roster", str(roster), "--out", str(tmp_path / "genesis.json"),
        *(each for name, key in keys.items() for each in (f"--{name}-key", key)),
    ]
    enrolments = [("--enrolment", str(tmp_path / f"{each['name']}.json")) for each in document["people"]]
    makers = ("--makers", str(write_makers(tmp_path)))
    for given, why in (
        ((), "people[0].credentials[0]: there is no --enrolment of it, of Person 0"),
        ((*enrolments[0], *enrolments[1], *makers), "people[2].credentials[0]: there is no --enrolment of it"),
        (sum(enrolments, ()), "people[0].credentials[0]: of Person 0: none of the makers that are trusted vouches"),
    ):
        refused = made.init(*asked, *given)
        assert (refused.code, why in refused.err) == (Exit.REFUSED, True), refused
    done = made.init(*asked, *sum(enrolments, ()), *makers)
    assert done.code == 0, done.err
    assert (tmp_path / "genesis.json").exists()


@pytest.mark.parametrize(("key", "typed", "code", "said"), [
    ({"pin": PIN}, "1234", Exit.REFUSED, "the PIN is wrong; 7 tries are left"),
    ({"pin": ""}, PIN, Exit.REFUSED, "this key can't verify its owner: set a PIN"),
    ({"pin": PIN, "is_touched": False}, PIN, Exit.REFUSED, "nobody touched the key in time"),
    ({"pin": PIN, "lies": True}, PIN, Exit.NOT_VERIFIED, "made it without verifying its owner"),
    ({"pin": PIN, "is_synced": True}, PIN, Exit.NOT_VERIFIED, "can be copied to other devices"),
], ids=["a wrong PIN", "no PIN is set", "nobody touches", "not verified", "a passkey that is synced"])
def test_what_the_key_does_wrong_is_said_and_nothing_is_enrolled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: dict[str, Any], typed: str, code: Exit, said: str
) -> None:
    monkeypatch.setattr(security_key, "plugged_in", lambda: described(json.dumps([{"made_seed": 61, **key}])))
    monkeypatch.setattr(security_key, "getpass", lambda _: typed)
    out = tmp_path / "Ada.json"
    with pytest.raises(Stop) as stop:
        make_credential(name="Ada", relying_party=PARTY, origin=ORIGIN, out=out, credential_class="terminal")
    assert (stop.value.code, said in stop.value.message) == (code, True), stop.value.message
    assert not out.exists()


def test_an_enrolment_is_never_overwritten_and_an_origin_is_of_the_relying_party(tmp_path: Path) -> None:
    (tmp_path / "Ada.json").write_text("kept")
    ended, seen = enrol(tmp_path, {"pin": PIN, "made_seed": 61}, "Ada")
    assert (ended, "nothing is overwritten" in seen, "PIN" in seen) == (Exit.REFUSED, True, False), seen
    assert (tmp_path / "Ada.json").read_text() == "kept"
    ended, seen = enrol(tmp_path, {"pin": PIN, "made_seed": 61}, "Ben", "--origin", "https://evil.example")
    assert ended == Exit.USAGE, seen


def test_what_a_maker_vouches_for_is_taken() -> None:
    check_enrolment(enrolment(7, b"id"), STATION, MAKERS)


@pytest.mark.parametrize(("changes", "said"), [
    ({"vouches": "itself"}, "none of the makers"),
    ({"vouches": "nobody"}, "doesn't hold"),
    ({"vouches": "stranger"}, "none of the makers"),
    ({"vouches": "batch"}, "none of the makers"),
    ({"flags": 0x41}, "without verifying its owner"),
    ({"flags": 0x44}, "without verifying its owner"),
    ({"flags": 0x4D}, "can be copied"),
    ({"party": "evil.example"}, "another relying party"),
    ({"origin": "https://evil.example"}, "another page"),
    ({"kind": "webauthn.get"}, "another page"),
])
def test_what_shows_no_security_key_of_this_deployment_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(EnrolmentError, match=said):
        check_enrolment(enrolment(7, b"id", **changes), STATION, MAKERS)


def test_a_software_key_gets_no_word_of_anothers_maker() -> None:
    """The attacker has a real key's enrolment, wants a key of a file in its place."""
    real = enrolment(7, b"id")
    copied = Credential(b"id", cose(private_key(8)), CredentialClass.TERMINAL)
    with pytest.raises(EnrolmentError, match="of another credential"):
        check_enrolment(replace(real, credential=copied), STATION, MAKERS)
    with pytest.raises(EnrolmentError, match="doesn't hold"):
        check_enrolment(replace(enrolment(8, b"id"), client_data=real.client_data + b" "), STATION, MAKERS)
    forged = real.attestation.replace(cose(private_key(7)), cose(private_key(8)))
    with pytest.raises(EnrolmentError, match="doesn't hold"):
        check_enrolment(replace(real, credential=copied, attestation=forged), STATION, MAKERS)


def test_an_enrolment_that_cant_be_read_is_said_with_its_field(tmp_path: Path) -> None:
    file = tmp_path / "enrolment.json"
    whole = enrolment(7, b"id")
    file.write_bytes(whole.encode())
    assert read_enrolment(file) == whole
    for field, value in (("attestation", "zz"), ("class", "paper"), ("id", ""), ("relying_party", 7)):
        file.write_text(json.dumps({**json.loads(enrolment(7, b"id").encode()), field: value}))
        with pytest.raises(FoundingError, match=field):
            read_enrolment(file)
    for cut in range(0, 200, 7):
        broken = replace(enrolment(7, b"id"), attestation=enrolment(7, b"id").attestation[:cut])
        with pytest.raises(EnrolmentError):
            check_enrolment(broken, STATION, MAKERS)
    file.write_text("not PEM")
    with pytest.raises(FoundingError, match="no certificates in PEM form"):
        read_makers(file)
