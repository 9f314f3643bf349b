"""Plants each bug of tests/adversary/bugs.py in a copy of the package and runs the fast tests: all must be caught.

`python tools/mutants.py [WORD…]`: only those whose name has one of the words. Prints which test caught which bug, and
exits with 1 if one survived, or if the tests fail on the copy without a bug, which would catch anything.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.adversary.bugs import BUGS, Bug
from tests.adversary.build import ROOT, environment, patched

PROCESSES = 2
TIMEOUT_S = 240
RULES = "tests/rules"
"""First the cases of the bug's own rule, then all that is fast."""
FAST = (
    RULES, "tests/adversary/test_attacks.py", "tests/adversary/test_hostile.py", "tests/signer/test_first_payout.py",
    "tests/signer/test_sign_evm.py", "tests/signer/test_sign_bitcoin.py", "tests/signer/test_pkcs11.py",
    "tests/signer/test_start.py", "tests/signer/test_clock.py", "tests/signer/test_notary.py",
    "tests/signer/test_requests.py", "tests/signer/test_desk.py", "tests/signer/test_recovery.py",
    "tests/signer/test_changes.py", "tests/guard/test_restore.py", "tests/guard/test_recovery.py",
    "tests/guard/test_witness.py", "tests/guard/test_cosigner.py", "tests/protocol/test_merkle.py",
    "tests/properties/test_signer_limits.py",
    "tests/properties/test_signer_replacement.py",
)
NONE = Bug("no bug", None, ())


@dataclass(frozen=True, slots=True)
class Outcome:
    """`caught_by` is the first test that failed, empty if none did."""

    bug: Bug
    caught_by: str
    seconds: float


def memory_folder() -> str | None:
    """Where the copies stand: what is tested is no disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 a folder of a random name is made in it


def try_bug(bug: Bug, tests: Sequence[str] = FAST) -> Outcome:
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="strongroom-mutant-", dir=memory_folder()))
    try:
        source = patched(folder, *bug.patches)
        caught_by = run_tests(folder, source, bug.rule.value, [RULES]) if bug.rule is not None else ""
        caught_by = caught_by or run_tests(folder, source, "not control", tests)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(bug, caught_by, time.monotonic() - started)


def run_tests(folder: Path, source: Path, words: str, tests: Sequence[str]) -> str:
    """The first of these tests that fails on the copy, empty if none does. Raises: RuntimeError if none ran."""
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-x", "--tb=no", "-k", words, "-o", f"pythonpath={source} .",
            "--basetemp", str(folder / "tests"), *tests,
        ],
        cwd=ROOT, env=environment(source), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode != 0 and not failed:
        raise RuntimeError(f"the tests didn't run:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
    return failed[0].partition(" ")[2].split(" - ")[0] if failed else ""


def row(outcome: Outcome) -> str:
    bug = outcome.bug
    rule = bug.rule.value if bug.rule is not None else "-"
    return f"{rule:22} {bug.name:52} {outcome.caught_by or 'SURVIVED'} ({outcome.seconds:.0f} s)"


def main(words: Sequence[str]) -> int:
    bugs = [each for each in BUGS if not words or any(word in each.name for word in words)]
    started = time.monotonic()
    clean = try_bug(NONE)
    if clean.caught_by:
        print(f"without a bug {clean.caught_by} fails: nothing could be shown")
        return 1
    outcomes = []
    with ThreadPoolExecutor(PROCESSES) as pool:
        for outcome in pool.map(try_bug, bugs):
            print(row(outcome), flush=True)
            outcomes.append(outcome)
    survived = [each.bug.name for each in outcomes if not each.caught_by]
    print(f"{len(outcomes)} bugs, {len(survived)} survived, {time.monotonic() - started:.0f} s")
    return 1 if survived or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
