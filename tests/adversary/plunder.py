"""What an attack on real processes is: its attacker's tools, what it took, its bound, and the controls that pass it."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.adversary.attacks import budgets
from tests.adversary.build import Patch
from tests.adversary.firm import Firm
from tests.adversary.ground import Ground
from tests.adversary.takings import Takings, count
from tests.signer.world import payee

from strongroom.sdk.errors import SdkError
from strongroom.signer.keys import open_key_file
from strongroom.signer.sign_simulated import SimulatedWallet

OWN = tuple(payee(f"the attacker's {number}") for number in range(8))
SMALL, MIDDLE, LARGE = 20_000, 200_000, 2_000_000
"""For nobody, for one person, for two people of two groups."""
WITH_PEOPLE = {"limits": budgets(B=10**9, K=10**9, D=10**9)["limits"], "browser_release_reference_minor": str(10**9)}


@dataclass(frozen=True)
class Loss:
    """Base units."""

    taken: int
    bound: int


@dataclass(frozen=True)
class Control:
    """What is taken out, of which processes: with it the same attack takes more than the bound."""

    processes: tuple[str, ...]
    patches: tuple[Patch, ...]


@dataclass(frozen=True)
class Case:
    """`tools` is what the attacker makes of a host that it has: processes, and how it changed them."""

    act: Callable[[Ground], Loss]
    controls: Mapping[str, Control]
    tools: Control = field(default_factory=lambda: Control((), ()))


def policy(cooling_ms: int = 0, **changes: Any) -> dict[str, Any]:
    cooling = dict.fromkeys(("declared", "payee_verified", "allowlisted"), cooling_ms)
    young = {"above_reference_minor": "25000", "young_for_ms": 0}
    fees = {"fee_budget_reference_minor": "20000"}
    return {"limits": budgets()["limits"], "cooling_off_ms": cooling, "risk": young} | fees | changes


def takings(firm: Firm) -> Takings:
    return count(firm.ground.blocks(), firm.addresses)


def tries(act: Callable[[], Any]) -> Any:
    """What came of it, None if it was refused."""
    with contextlib.suppress(SdkError):
        return act()
    return None


def with_the_keys(ground: Ground, firm: Firm, raw: bytes, coins: Sequence[Mapping[str, Any]]) -> bytes:
    """What the signer's own keys make of these bytes, without the signer; the coins are of the first generation."""
    identity = os.open(ground.data / "signer.identity", os.O_RDONLY)
    keys = open_key_file(next((ground.data / "signer").glob("*.age")).read_bytes(), identity)
    os.close(identity)
    paths = [(0, firm.addresses.index(each["address"])) for each in coins]
    return SimulatedWallet(keys).sign(firm.id, raw, paths)


def attacked(ground: Ground, case: Case, *taken_out: Control) -> Loss:
    """By this case's attacker with its tools, on a ground without what was taken out."""
    parts = [each for each in (case.tools, *taken_out) if each.processes]
    processes = tuple(dict.fromkeys(each for part in parts for each in part.processes))
    patches = tuple(patch for part in parts for patch in part.patches)
    with ground.patched(processes, patches) if parts else contextlib.nullcontext():
        try:
            return case.act(ground)
        finally:
            ground.calm()
