"""docs/permissions.md out of the tables that decide: which role may do what on the console's pages, and by what.

`python -m tools.duties_doc` writes it; a test compares.
"""

import sys
from pathlib import Path
from typing import Final

from strongroom.console.call import OWN, PUBLIC, STATION
from strongroom.console.duties import GRANTS, NEEDS, TAKES_AWAY, Duty, Way, duties_of
from strongroom.console.routes import ROUTES
from strongroom.protocol.roster import Role

FILE: Final = Path(__file__).parent.parent / "docs/permissions.md"
_WAYS: Final = {
    Way.SESSION: "a session", Way.STEP_UP: "the passkey, over this change", Way.ASSERTION: "an approval credential",
}
_OTHERS: Final = {
    PUBLIC: "anybody", OWN: "whoever is signed in, confirmed or not", STATION: "the station; what it posts is signed",
}
_HEAD: Final = """# Who may do what on the console's pages

Made from `src/strongroom/console/duties.py` and `routes.py` by `python -m tools.duties_doc`; a test compares. What
programs may do by the API stands in the roster, as scopes of their keys; what a payment needs is for the signer to
say. A person with several roles has the duties of all, without those that one of them takes away.
"""


def text() -> str:
    roles = list(Role)
    lines = [_HEAD, "## Roles", "", f"| duty | done by | {' | '.join(role.value for role in roles)} |"]
    lines.append("|---|---|" + "---|" * len(roles))
    for duty in Duty:
        marks = " | ".join("yes" if duty in duties_of([role]) else "" for role in roles)
        row = f"| `{duty.value}` | {_WAYS[NEEDS[duty]]} | {marks} |"
        lines.append(row.replace("|  |", "| |").replace("|  |", "| |"))
    lines += ["", "## What a role takes away", "", "| role | never, whatever else the person is |", "|---|---|"]
    for role, duties in TAKES_AWAY.items():
        lines.append(f"| {role.value} | {', '.join(f'`{each.value}`' for each in sorted(duties))} |")
    lines += ["", "## Addresses", "", "| | address | takes |", "|---|---|---|"]
    for route in sorted(ROUTES, key=lambda each: (each.path, each.method)):
        takes = _OTHERS.get(str(route.duty)) or f"`{route.duty}`"
        lines.append(f"| {route.method} | `{route.path}` | {takes} |")
    held = sum(len(each) for each in GRANTS.values())
    return "\n".join([*lines, "", f"{len(ROUTES)} addresses, {len(Duty)} duties, {held} grants.", ""])


if __name__ == "__main__":
    FILE.write_text(text())
    sys.exit(0)
