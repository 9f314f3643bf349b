"""`console invite`: the first link by which somebody makes a passkey for the console.

For who holds the database: in production the first admin is let in by it, once; further people are invited by admins.
"""

import asyncio
import time
from typing import Annotated

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop, fields, show
from strongroom.cli.session import Data, Json, document, speaking
from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.domain.instant import DAY_MS, Instant


@speaking
def invite(
    person: Annotated[str, Parameter(help="Who: a login of the profile, such as ada")],
    /,
    *,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """A link by which one person makes a passkey for the console: good for a day, and once. Needs the database."""
    from strongroom.sandbox.inviting import invite_person

    profile = document(data)
    found = next((each for each in profile["people"] if each["login"] == person), None)
    if found is None:
        logins = ", ".join(each["login"] for each in profile["people"])
        raise Stop(Exit.USAGE, f"there is nobody {person!r}; there are {logins}")
    missing = [name for name in ("database_url", "console_url") if name not in profile]
    if missing:
        raise Stop(Exit.USAGE, f"the profile has no {missing[0]}")
    now = Instant(time.time_ns() // 1_000_000)
    token = asyncio.run(invite_person(
        profile["database_url"], OrganisationId(profile["organisation"]), PersonId(found["id"]),
        Instant(now + DAY_MS), now))
    link = f"{profile['console_url']}/invited/{token}"
    show({"link": link, "person": found["id"]}, as_json,
         fields([("open", link), ("for", found["name"]), ("good for", "a day, once")]))
    return Exit.DONE
