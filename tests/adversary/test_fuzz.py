"""The machine that owns all around the signer finds nothing; and with a rule taken out it finds that at once.

10,000 steps for each seed under STRONGROOM_FAULTS=full, where every kind of move must come to its end so many times. A
failure names its seed and step: the same again is `python -m tests.adversary.fuzz SEED STEPS`.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adversary.attacks import BOOK, DUE, GATE, LIMITS_OUT, ONCE_OUT, QUORUM_OUT
from tests.adversary.build import Patch, patched, run
from tests.adversary.fuzz import play
from tests.adversary.siege import fast_folder, remove
from tests.faults.signer.ground import IS_FULL

APPROVALS, CHANGES, DESK, REQUESTS = (f"signer/{name}.py" for name in ("approvals", "changes", "desk", "requests"))
NEGATIVE = "protocol/negative.py"
STEPS = 10_000 if IS_FULL else 400
SEEDS = tuple(range(20261124, 20261130)) if IS_FULL else (20261124, 20261125)
CONTROL_STEPS = 4_000

REACHED = {
    "signed: pay": 100, "signed: bump": 1, "signed: cancel": 50, "signed: consolidate": 5, "signed: sweep": 30,
    "mined": 150, "reorg": 20, "guard attests": 50, "guard attests nothing": 50, "released": 10,
    "receipt: never signed": 50, "receipt: void": 15, "paid in place of a void one": 1, "free: cancel": 20,
    "free: sweep": 5, "free: theft": 5, "freed by half": 1, "rotated": 10, "waits: policy": 15, "waits: roster": 10,
    "told guard: veto": 15, "told guard: recover": 40, "told guard: suspend": 3, "recovered": 8, "replayed": 30,
    "asked with another key": 40,
}
"""By ten thousand steps, at least."""

CONTROLS = {
    "attempts needn't exclude each other": (ONCE_OUT, "a chain could hold both"),
    "no limits": (LIMITS_OUT, "went out under"),
    "no budget for fees": (
        Patch(GATE, "+ fee_minor > budget:", "+ fee_minor > 10**30:"), "more fees than"
    ),
    "what was taken back while an attempt stood is signed": (
        Patch(DUE, "payments.dead.isdisjoint(new) and payments.taken_back.isdisjoint(new)",
              "payments.dead.isdisjoint(new)"),
        "was taken back, and signed",
    ),
    "signed before guard has it": (
        Patch(DESK, "            self._agree_to(asked.organisation, decision.transaction.identifier)\n", ""),
        "came out before guard had it",
    ),
    "a person asks and nobody approves": (
        Patch(GATE, "is_person(due.intent.client) or is_person(known.declared_by)", "False"), "approved by nobody else"
    ),
    "the maker approves": (
        Patch(APPROVALS, "people = {PersonId(each) for each in makers if is_person(each)}",
              "people: set[PersonId] = set()"),
        "approved by nobody else",
    ),
    "outputs aren't compared": (
        Patch(GATE, " or output != (place[1], due.minor):", ":"), "which nobody asked for"
    ),
    "what excludes one attempt makes a payout void": (
        Patch(REQUESTS, "in map(payments.attempts.__getitem__, attempts):",
              "in map(payments.attempts.__getitem__, attempts[:1]):"),
        "and the chain could still take|and no quorum released it",
    ),
    "anything final makes a payout void": (
        Patch(REQUESTS, " and excludes(payments, each, attempt, payout)]", "]"),
        "and the chain could still take|and no quorum released it",
    ),
    "guard looks at one block only": (
        Patch("guard/eyes.py", "for each in range(height, height + depth)]", "for each in range(height, height + 1)]"),
        "is final, and it isn't",
    ),
    "what was swept needs no quorum": (
        Patch(REQUESTS, " and by.operation != Operation.SWEEP", ""), "and no quorum released it"
    ),
    "one officer releases": (
        Patch(NEGATIVE, "if negative.action in (Action.UNFREEZE, Action.RELEASE) and",
              "if negative.action is Action.UNFREEZE and"),
        "released po_",
    ),
    "what is void is signed again": (
        Patch(DUE, "if intent.id in payments.dead or not (", "if not ("), "said would never be paid"
    ),
    "change goes to the first generation for ever": (
        Patch(BOOK, "return len(self.former.get(network, ()))", "return 0"), "nor the newest change gets something"
    ),
    "the engine may ask what the admin may": (
        Patch(DESK, " - {Ask.ORGANISATION, Ask.ROTATE, Ask.RECOVER}", ""), "the engine asked for"
    ),
    "an officer's word isn't used up": (
        Patch(GATE, 'word.used_by == (transaction.identifier if is_known else "")', "True"), "words of officers"
    ),
    "an officer's word outlives a freeze": (
        Patch(BOOK, "        payments.words.clear()\n", "        pass\n"), "words of officers"
    ),
    "any number of sweeps": (
        Patch(GATE, "_on_its_way(payments, asked, transaction, clock)\n", "None\n"), "words of officers"
    ),
    "no quorum for a change": (QUORUM_OUT, "came into force without a quorum|released po_|no quorum wants"),
    "a change doesn't wait": (
        Patch(CHANGES, "if pending.noticed is None or clock.at_least - pending.noticed < delay_ms:", "if False:"),
        "came into force before its time",
    ),
    "a change comes in force though guard wasn't heard": (
        Patch(CHANGES, "    clock = notary.reading()\n    notary.agree()\n",
              "    clock = notary.reading()\n    with suppress(Refused):\n        notary.agree()\n"),
        "came into force in spite of a veto",
    ),
    "an old key pays what it asked for": (
        Patch(DUE, "if not all(payments.standing.may_ask(key, Permission.PAYOUTS_CREATE, clock.at_least) for key in "
              "keys):", "if False:"),
        "may not ask any more",
    ),
    "members aren't told of a change": (
        Patch("guard/notices.py", "        for person in standing.roster.people\n",
              "        for person in standing.roster.people[1:]\n"),
        "were never told of the change",
    ),
    "a recovery that guard doesn't wait for": (
        Patch(CHANGES, "if notary.said is not Reason.LOST or not", "if not"), "that guard didn't wait for"
    ),
    "what was asked for before a loss is known": (
        Patch(BOOK, "            asked.clear()\n", "            pass\n"), "since some was lost|was never signed"
    ),
    "a receipt for what was signed before a loss": (
        Patch(BOOK, "    if is_unknown or payments.attempts_of.get(subject):\n",
              "    if payments.attempts_of.get(subject):\n"),
        "was never signed",
    ),
}
TRIED = tuple(CONTROLS) if IS_FULL else ("no limits", "what is void is signed again", "an officer's word isn't used up")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = fast_folder(tmp_path)
    yield made
    remove(made)


@pytest.mark.faults
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_must_not_be_is_seen(folder: Path, seed: int) -> None:
    machine = play(seed, STEPS, folder)
    print(f"seed {seed}: {dict(machine.answers)} {dict(machine.moves)}")
    assert min(machine.answers[each] for each in ("signed", "payout-once", "guard-agrees", "intent-alive")) >= 3
    assert machine.moves["recovered"] >= 1
    if IS_FULL:
        assert {name: machine.moves[name] for name, floor in REACHED.items() if machine.moves[name] < floor} == {}


def play_all(source: Path) -> None:
    """One seed or another plays into it."""
    for seed in SEEDS:
        run(source, "tests.adversary.fuzz", str(seed), str(CONTROL_STEPS))


@pytest.mark.faults
@pytest.mark.parametrize("what", TRIED)
def test_control_with_a_rule_taken_out_it_is_seen(folder: Path, what: str) -> None:
    patch, complaint = CONTROLS[what]
    source = patched(folder / "build", patch)
    with pytest.raises(subprocess.CalledProcessError) as ended:
        play_all(source)
    assert "BrokenError" in ended.value.stderr
    assert any(each in ended.value.stderr for each in complaint.split("|")), ended.value.stderr[-1_000:]


@pytest.mark.parametrize("what", CONTROLS)
def test_what_is_taken_out_stands_in_the_code_as_it_is(folder: Path, what: str) -> None:
    """So that a control which `make test` doesn't try can't go stale unseen."""
    assert patched(folder / "build", CONTROLS[what][0]).is_dir()
