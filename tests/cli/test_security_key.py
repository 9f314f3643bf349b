"""Approving with a security key: from the request that the signer wrote to the payment that it signs. The key is in
software, and all else is real: API, database, engine, signer, terminal."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.api.server import ApiProcess
from tests.cli.maker import cose, private_key
from tests.cli.terminal import WITHIN_S, at_a_terminal, with_keys
from tests.cli.virtual_key import described
from tests.conftest import Database, own_database
from tests.engine.road import Road, open_road
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID
from tests.rails.chain import Chain, running_chain
from tests.rules.cases import MIDDLE
from tests.signer.world import ORGANISATION, PAY_KEY, PAYER, TESS, roster

from strongroom.cli import security_key
from strongroom.cli.approve import signers_of
from strongroom.cli.output import Exit, Stop
from strongroom.cli.security_key import SecurityKey
from strongroom.domain.instant import Instant
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE
from strongroom.protocol.roster import Credential, CredentialClass, Roster
from strongroom.store.organisations import record_deployment

PIN = "739-hunter"
CREDENTIAL = b"tess's security key"
SEED = 41
KEY: dict[str, Any] = {"pin": PIN, "credentials": [[RELYING_PARTY_ID, CREDENTIAL.hex(), SEED]]}


def tess_has_a_key() -> Roster:
    first = roster()
    credential = Credential(CREDENTIAL, cose(private_key(SEED)), CredentialClass.TERMINAL)
    return replace(first, people=tuple(
        replace(each, credentials=(credential,)) if each.id == TESS.id else each for each in first.people
    ))


class Desk:
    """A folder with sandbox.json, and the command line at a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **document: Any) -> None:
        key_file = self.folder / "payouts.key"
        key_file.write_text(document.pop("private_key"))
        person = {"id": TESS.id, "name": "Tess Example", "login": "tess", "roles": ["approver"]}
        (self.folder / "sandbox.json").write_text(json.dumps({
            "ready": True, "organisation": ORGANISATION, "guard_url": "http://127.0.0.1:9",
            "clients": {"payouts": {"client_id": PAYER, "key_id": PAY_KEY, "private_key_file": str(key_file)}},
            "people": [{**person, "credential_ids": [CREDENTIAL.hex()]}, {**person, "login": "resident"}],
            "relying_party": {"id": RELYING_PARTY_ID, "origin": ORIGIN}, **document,
        }))

    def approve(self, subject: str, *keys: dict[str, Any], typed: str = PIN, login: str = "tess") -> tuple[int, str]:
        """The exit code, and all that the terminal showed; the PIN is typed when it is asked for."""
        return at_a_terminal(self._command(subject, keys, login), typed)

    def approve_in_a_pipe(self, subject: str, *keys: dict[str, Any]) -> tuple[int, str]:
        done = subprocess.run(
            self._command(subject, keys, "tess"), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=WITHIN_S, start_new_session=True, check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def _command(self, subject: str, keys: tuple[dict[str, Any], ...], login: str) -> list[str]:
        return with_keys(self.folder, keys, "approve", subject, "--as", login, "--data", str(self.folder))


@contextmanager
def waiting(folder: Path, database: Database, chain: Chain) -> Iterator[tuple[Road, Desk, Any]]:
    """A payout that needs an approver with a terminal, behind the API, and the loop in which the engine runs."""
    now = Instant(time.time_ns() // 1_000_000)
    with asyncio.Runner() as runner:
        made = open_road(
            folder, database, chain, made_roster=tess_has_a_key(), began=now,
            browser_release_reference_minor="1", risk={"above_reference_minor": "25000", "young_for_ms": 1},
        )
        road = runner.run(made.__aenter__())
        try:
            runner.run(_ask(road, database, now))
            api = ApiProcess(folder, database.dsn("api"), deployment=road.world.book.deployment).start()
            try:
                desk = Desk(folder)
                desk.write(
                    api_url=api.url, deployment=road.world.book.deployment,
                    statement_public_key=road.world.book.genesis.statement_key.hex(),
                    private_key=bytes(road.world.keys.payer).hex(),
                )
                yield road, desk, runner
            finally:
                api.stop()
        finally:
            runner.run(made.__aexit__(None, None, None))


async def _ask(road: Road, database: Database, now: Instant) -> None:
    owner = await asyncpg.connect(database.owner_dsn)
    await record_deployment(owner, road.world.book.deployment, road.world.genesis, now)
    await owner.close()
    await road.pay("payee", MIDDLE)
    await road.go()
    assert (await road.states())["payee"] == "awaiting_approval"
    await road.intake.stop()  # the API's takes over


@pytest.fixture(scope="module")
def place(
    postgres_cluster: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Road, Desk, Any]]:
    folder = tmp_path_factory.mktemp("security-key")
    with (
        running_chain(folder) as chain, own_database(postgres_cluster) as database,
        waiting(folder, database, chain) as made,
    ):
        yield made


def kept(place: tuple[Road, Desk, Any]) -> int:
    road, _, runner = place
    return len(runner.run(road.fetch("SELECT 1 FROM strongroom.approval_assertions")))


@pytest.mark.parametrize(("keys", "typed", "code", "said"), [
    ([], PIN, Exit.NOT_FOUND, "no security key is plugged in"),
    ([KEY, KEY], PIN, Exit.USAGE, "2 security keys are plugged in"),
    ([KEY], "1234", Exit.REFUSED, "the PIN is wrong; 7 tries are left before the key locks itself"),
    ([{**KEY, "in_a_row": 2}], "1234", Exit.REFUSED, "three wrong PINs in a row: unplug the key"),
    ([{**KEY, "tries": 1}], "1234", Exit.REFUSED, "the key is locked"),
    ([KEY], "", Exit.REFUSED, "without its PIN the key can't verify you"),
    ([{**KEY, "pin": ""}], PIN, Exit.REFUSED, "this key can't verify its owner: set a PIN"),
    ([{**KEY, "is_old": True}], PIN, Exit.REFUSED, "this key can't verify its owner: set a PIN"),
    ([{**KEY, "credentials": [[RELYING_PARTY_ID, "ff01", SEED]]}], PIN, Exit.REFUSED, "no credential of Tess Example"),
    ([{**KEY, "credentials": [["evil.example", CREDENTIAL.hex(), SEED]]}], PIN, Exit.REFUSED, "no credential of Tess"),
    ([{**KEY, "is_touched": False}], PIN, Exit.REFUSED, "nobody touched the key in time"),
    ([{**KEY, "is_unplugged": True}], PIN, Exit.REFUSED, "the key doesn't answer as it should"),
    ([{**KEY, "lies": True}], PIN, Exit.NOT_VERIFIED, "without verifying that it is Tess Example"),
], ids=[
    "no key", "two keys", "a wrong PIN", "three in a row", "the last try", "no PIN", "no PIN is set", "a key of CTAP1",
    "another credential", "another relying party", "nobody touches", "unplugged", "not verified",
])
def test_what_is_wrong_with_the_key_is_said(
    monkeypatch: pytest.MonkeyPatch, keys: list[dict[str, Any]], typed: str, code: Exit, said: str
) -> None:
    monkeypatch.setattr(security_key, "plugged_in", lambda: described(json.dumps(keys)))
    monkeypatch.setattr(security_key, "getpass", lambda _: typed)
    key = SecurityKey(TESS.id, "Tess Example", RELYING_PARTY_ID, ORIGIN, (CREDENTIAL,))
    with pytest.raises(Stop) as stop:
        key.asserts(b"{}", APPROVAL_REQUEST_TYPE)
    assert (stop.value.code, said in stop.value.message) == (code, True), stop.value.message
    assert PIN not in stop.value.message


@pytest.mark.parametrize(("person", "asked", "on_key"), [
    ({"credential_ids": ["0a"]}, False, True), ({"software_key_file": "/none.json"}, True, True),
    ({"software_key_file": "/none.json"}, False, False),
])
def test_who_has_no_software_passkey_or_asks_for_it_signs_on_a_key(
    person: dict[str, Any], asked: bool, on_key: bool
) -> None:
    whole = {"id": TESS.id, "name": "Tess", "login": "tess", "roles": ["approver"], **person}
    sandbox = {"people": [whole], "relying_party": {"id": RELYING_PARTY_ID, "origin": ORIGIN}}
    if not on_key:
        with pytest.raises(Stop, match=r"passkey of tess in /none\.json can't be read"):
            signers_of(sandbox, ["tess"], asked)
        return
    ids = tuple(bytes.fromhex(each) for each in person.get("credential_ids", []))
    assert signers_of(sandbox, ["tess"], asked) == [SecurityKey(TESS.id, "Tess", RELYING_PARTY_ID, ORIGIN, ids)]


def test_a_key_that_this_user_may_not_open_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied() -> list[Any]:
        raise PermissionError(13, "Permission denied", "/dev/hidraw3")

    monkeypatch.setattr(security_key, "plugged_in", denied)
    key = SecurityKey(TESS.id, "Tess Example", RELYING_PARTY_ID, ORIGIN, ())
    with pytest.raises(Stop, match=r"can't be opened: .*hidraw3"):
        key.asserts(b"{}", APPROVAL_REQUEST_TYPE)


def test_what_another_key_signs_under_its_id_is_refused_and_not_kept(place: tuple[Road, Desk, Any]) -> None:
    road, desk, _ = place
    other = {**KEY, "credentials": [[RELYING_PARTY_ID, CREDENTIAL.hex(), SEED + 1]]}
    ended, seen = desk.approve(road.payouts["payee"], other)
    assert (ended, "signature: doesn't hold" in seen, "Traceback" in seen) == (Exit.REFUSED, True, False), seen
    assert kept(place) == 0


def test_a_wrong_pin_is_said_at_the_terminal_and_never_shown(place: tuple[Road, Desk, Any]) -> None:
    road, desk, _ = place
    ended, seen = desk.approve(road.payouts["payee"], KEY, typed="not-my-pin")
    assert (ended, "the PIN is wrong" in seen, "not-my-pin" in seen) == (Exit.REFUSED, True, False), seen
    assert kept(place) == 0


def test_the_pin_is_asked_on_a_terminal_or_not_at_all(place: tuple[Road, Desk, Any]) -> None:
    road, desk, _ = place
    ended, seen = desk.approve_in_a_pipe(road.payouts["payee"], KEY)
    assert (ended, "no terminal on which the PIN could be asked without echo" in seen) == (Exit.USAGE, True), seen
    assert kept(place) == 0


def test_several_credentials_of_one_key_are_nobodys_guess(place: tuple[Road, Desk, Any]) -> None:
    """Nothing says which of those that the key keeps is this person's."""
    road, desk, _ = place
    both = {**KEY, "credentials": [*KEY["credentials"], [RELYING_PARTY_ID, "01", SEED]]}
    ended, seen = desk.approve(road.payouts["payee"], both, login="resident")
    assert (ended, "several credentials" in seen) == (Exit.USAGE, True), seen
    assert kept(place) == 0


def test_what_the_signer_wrote_is_drawn_the_key_touched_and_the_payout_paid(place: tuple[Road, Desk, Any]) -> None:
    """Last, as it ends the wait: the policy needs a terminal's approval here, and this is one."""
    road, desk, runner = place
    ended, seen = desk.approve(road.payouts["payee"], KEY)
    assert ended == Exit.DONE, seen
    record = road.destinations["payee"]
    drawn, asked, touched = (seen.index(text) for text in (record.address, "PIN of the security key", "touch the"))
    assert drawn < asked < touched
    for text in (f"{MIDDLE} of sim:", "1 people of 1 groups", "approved by Tess Example: 1 of 1"):
        assert text in seen
    assert PIN not in seen
    assert runner.run(_paid(road)) == {"payee": [MIDDLE]}


async def _paid(road: Road) -> dict[str, list[int]]:
    """By the road's clock it is as late now as by the API's, which woke the payout."""
    road.world.pass_by(max(0, time.time_ns() // 1_000_000 - road.now()))
    await road.go()
    road.chain.mine(3)
    await road.go()
    return road.received()
