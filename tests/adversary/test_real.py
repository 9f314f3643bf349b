"""Nobody takes more than its bound from real processes, with real sockets and real SQL.

First those who haven't the engine, which is honest and at work; then its seat is taken. The control of an attack is the
same attack on a ground where a rule was taken out of a process: there the loss is above the bound. `make test` tries
one attack of each of the table's attackers and two controls, `make faults` all.
"""

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.adversary import inside, outside, records, stuck
from tests.adversary.alarmed import is_whole, lies, thefts
from tests.adversary.build import ROOT, Patch
from tests.adversary.firm import Firm, found
from tests.adversary.ground import Ground, ground
from tests.adversary.plunder import Case, Control, attacked, policy
from tests.adversary.records import TWICE
from tests.faults.signer.ground import IS_FULL
from tests.faults.spread import said

pytestmark = pytest.mark.faults

OUTSIDE = outside.CASES | records.CASES
INSIDE = inside.CASES | stuck.CASES
THIN = (
    "nothing_or_a_bearer_key", "payout_key_elsewhere", "both_keys_to_own_addresses", "approver_alone",
    "custodian_with_the_keys", "stations_host", "api_host", "database_redirects_payouts",
    "operator_alone", "engine_to_own_address", "engine_says_unpaid", "engine_sends_change_to_other_keys",
    "all_three_and_a_payout_key", "guards_host_undoes_a_freeze",
)
"""One for each row of the table of bounds, or more where the ways are different."""
THIN_CONTROLS = (
    ("payout_key_elsewhere", "no limits"), ("engine_to_own_address", "attempts needn't exclude each other"),
)


def tried(cases: Mapping[str, Case]) -> list[str]:
    return [name for name in cases if IS_FULL or name in THIN]


def controls(cases: Mapping[str, Case]) -> list[tuple[str, str]]:
    every = [(name, what) for name, case in cases.items() for what in case.controls]
    return [each for each in every if IS_FULL or each in THIN_CONTROLS]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Ground]:
    with ground() as made:
        yield made


@pytest.fixture(scope="module")
def empty_seat(deployment: Ground) -> Ground:
    """Without its engine, in whose seat the attacker sits from here on."""
    deployment.stop("engine")
    return deployment


def check(deployment: Ground, name: str) -> None:
    loss = attacked(deployment, (OUTSIDE | INSIDE)[name])
    print(f"{name}: took {loss.taken}, bound {loss.bound}")
    assert loss.taken <= loss.bound


def check_control(deployment: Ground, name: str, what: str) -> None:
    case = (OUTSIDE | INSIDE)[name]
    loss = attacked(deployment, case, case.controls[what])
    print(f"{name}, {what}: took {loss.taken}, bound {loss.bound}")
    assert loss.taken > loss.bound


@pytest.mark.parametrize("name", tried(OUTSIDE))
def test_who_hasnt_the_engine_takes_no_more_than_its_bound(deployment: Ground, name: str) -> None:
    check(deployment, name)


@pytest.mark.parametrize(("name", "what"), controls(OUTSIDE))
def test_control_with_its_rule_taken_out_who_hasnt_the_engine_takes_more(
    deployment: Ground, name: str, what: str
) -> None:
    check_control(deployment, name, what)


def test_what_the_owner_of_the_record_does_to_the_log_is_named(deployment: Ground, tmp_path: Path) -> None:
    """The attacker has the database, wants a payout out of the log; the bound is that `audit verify` names the leaf."""
    firm = found(deployment, policy())
    firm.promise("rosa", TWICE)
    firm.rest()
    newest = "SELECT s.leaf_index, l.id, l.leaf FROM strongroom.audit_leaves l JOIN strongroom.audit_sequence s " \
        "ON s.leaf_id = l.id WHERE l.leaf LIKE '%payout-recorded%' ORDER BY s.leaf_index DESC LIMIT 1"
    deployment.eventually(lambda: deployment.query("owner", newest), "the leaf is sequenced")
    ((index, leaf_id, leaf),) = deployment.query("owner", newest)
    assert verified(deployment, tmp_path) is None
    change = "UPDATE strongroom.audit_leaves SET leaf = $2 WHERE id = $1"
    deployment.as_owner((change, leaf_id, leaf.replace(firm.id, "org_" + "a" * 26)))
    assert verified(deployment, tmp_path) == index
    deployment.as_owner((change, leaf_id, leaf), ("DELETE FROM strongroom.audit_leaves WHERE id = $1", leaf_id))
    assert verified(deployment, tmp_path) == index
    put_back = "INSERT INTO strongroom.audit_leaves OVERRIDING SYSTEM VALUE VALUES ($1, $2)"
    deployment.as_owner((put_back, leaf_id, leaf))
    assert verified(deployment, tmp_path) is None


def verified(deployment: Ground, folder: Path) -> int | None:
    """The leaf that an export and its verification complain of, None if they don't."""
    file = folder / "log"
    exported = deployment.command("audit", "export", str(file))
    assert exported.returncode == 0, exported.stderr
    done = deployment.command("audit", "verify", str(file), "--json")
    said = json.loads(done.stdout)
    assert said["verified"] == (done.returncode == 0), done.stdout
    return None if said["verified"] else int(said["leaf"])


COUNT = 60 if IS_FULL else 5
BOUND_S = 1.0
SLOW = Control(("watch",), (
    Patch("watch/main.py", "FOLLOW_S: Final = 0.25\n", "FOLLOW_S: Final = 3\n"),
))
NOT_TOLD = Control(("watch",), (
    Patch("watch/reconcile.py", " or written != self._written\n", "\n"),
    Patch("watch/reconcile.py", "LOOK_S: Final = 2\n", "LOOK_S: Final = 4\n"),
))
SEEN = {"a theft": (thefts, SLOW), "a ledger that lies": (lies, NOT_TOLD)}


def whole(deployment: Ground) -> Firm:
    firm = found(deployment, policy())
    firm.promise("rosa", TWICE)
    firm.rest()
    deployment.eventually(lambda: is_whole(firm), "the ledger is what stands on the chain")
    return firm


@pytest.mark.parametrize("what", SEEN)
def test_what_watch_can_see_is_an_alarm_at_guard_within_a_second(deployment: Ground, what: str) -> None:
    took = SEEN[what][0](whole(deployment), COUNT, random.Random(COUNT))
    deployment.calm()
    print(said(f"{what}, until its alarm stood at guard", took))
    assert len(took) == COUNT
    assert max(took) <= BOUND_S


@pytest.mark.parametrize("what", SEEN if IS_FULL else ["a ledger that lies"])
def test_control_a_watch_that_looks_seldom_is_later(deployment: Ground, what: str) -> None:
    act, control = SEEN[what]
    firm = whole(deployment)
    with deployment.patched(control.processes, control.patches):
        took = act(firm, 3, random.Random(3))
        deployment.calm()
    print(said(f"{what}, by a slow watch", took))
    assert max(took) > BOUND_S


@pytest.mark.parametrize("name", tried(INSIDE))
def test_who_sits_in_the_engines_seat_takes_no_more_than_its_bound(empty_seat: Ground, name: str) -> None:
    check(empty_seat, name)


@pytest.mark.parametrize(("name", "what"), controls(INSIDE))
def test_control_with_its_rule_taken_out_who_sits_there_takes_more(empty_seat: Ground, name: str, what: str) -> None:
    check_control(empty_seat, name, what)


def test_the_signers_host_takes_the_hot_wallet_and_no_more(empty_seat: Ground) -> None:
    """No rule bounds it, so there is none to take out: what is shown is that H is no guess."""
    loss = inside.signers_host(empty_seat)
    assert loss.taken == loss.bound


def test_every_attack_says_what_its_attacker_has_and_wants_and_has_a_control() -> None:
    every = (OUTSIDE | INSIDE).values()
    assert all((case.act.__doc__ or "").startswith("The attacker ") and case.controls for case in every)
    assert set(THIN) <= (OUTSIDE | INSIDE).keys()


def test_what_is_taken_out_stands_in_the_code_as_it_is() -> None:
    """So that a control which `make test` doesn't try can't go stale unseen."""
    every = (OUTSIDE | INSIDE).values()
    patches = {each for case in every for part in (case.tools, *case.controls.values()) for each in part.patches}
    counts = {each: (ROOT / "src/strongroom" / each.file).read_text().count(each.before) for each in patches}
    assert set(counts.values()) == {1}, [each for each, count in counts.items() if count != 1]
