"""What the signer is given when both have lost some."""

from typing import Any

from tests.protocol.recovering import new_roster, recovery_ask, recovery_record
from tests.signer.world import CLEO, DAN, ORGANISATION, Human, World

from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import Roster
from strongroom.protocol.signer_wire import RECOVERY_TYPE, Ask
from strongroom.signer.desk import ADMIN


def recovering(
    world: World, *people: Human, made: Roster | None = None, policy: bytes | None = None, asserts: bytes = b"",
    journal: Head | None = None, wrong: dict[str, Any] | None = None,
) -> dict[str, JsonValue]:
    """The policy in force and a new roster, wanted by these people, who may have asserted something else."""
    roster, policy = write_roster(made or new_roster(world.payments.standing.roster, "n")), policy or world.policy
    record = recovery_record(
        world.book.deployment, ORGANISATION, journal or world.notary.head, policy, roster, wrong
    )
    return recovery_ask(record, policy, roster, [each.asserts(asserts or record, RECOVERY_TYPE) for each in people])


def recover(world: World, given: dict[str, JsonValue] | None = None) -> Any:
    return world.ask(Ask.RECOVER, ADMIN, **(given or recovering(world, CLEO, DAN)))
