"""Who hasn't the engine takes no more than its bound from real processes; the engine is honest and at work.

The control of an attack is the same attack on a ground where a rule was taken out of a process: there the loss is above
the bound. `make test` tries all but a long one, and one control; `make faults` all.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adversary import outside, records
from tests.adversary.alarmed import is_whole, lies, thefts
from tests.adversary.build import Patch
from tests.adversary.firm import Firm, found
from tests.adversary.ground import Ground, ground
from tests.adversary.plunder import Control, attacked, policy
from tests.adversary.records import TWICE
from tests.faults.signer.ground import IS_FULL
from tests.faults.spread import said

pytestmark = pytest.mark.faults

CASES = outside.CASES | records.CASES
CONTROLS = [(name, what) for name, case in CASES.items() for what in case.controls]
LONG = "database_restored_to_yesterday"
ATTACKS = list(CASES) if IS_FULL else [name for name in CASES if name != LONG]
TRIED = CONTROLS if IS_FULL else [("payout_key_after_it_was_revoked", "no revocation")]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Ground]:
    with ground() as made:
        yield made


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attacker_takes_more_than_its_bound(deployment: Ground, name: str) -> None:
    loss = attacked(deployment, CASES[name])
    print(f"{name}: took {loss.taken}, bound {loss.bound}")
    assert loss.taken <= loss.bound


@pytest.mark.parametrize(("name", "what"), TRIED, ids=[f"{name}: {what}" for name, what in TRIED])
def test_control_with_its_rule_taken_out_the_attack_takes_more(deployment: Ground, name: str, what: str) -> None:
    loss = attacked(deployment, CASES[name], CASES[name].controls[what])
    print(f"{name}, {what}: took {loss.taken}, bound {loss.bound}")
    assert loss.taken > loss.bound


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
