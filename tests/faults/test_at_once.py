"""Many ask at one moment at a limit with room for few: signer, link and guard are processes, each asker has a socket.

The signer takes eight connections, so eight askers have eight payouts each, every one worth a tenth of the limit.
"""

import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.adversary.attacks import LIMITS_OUT
from tests.adversary.build import Patch
from tests.faults.trio import COOLING_MS, Trio, trio
from tests.signer.test_locked_signer import receive
from tests.signer.world import ORGANISATION, limit

from strongroom.formats import simulated
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.signer.desk import ENGINE
from strongroom.signer.server import CONNECTIONS_MAXIMUM

MINOR, ROOM, ASKED = 1_000, 10, 64
FEE = 500


def question(made: Trio, payout: str) -> bytes:
    """A coin of its own and no change, so that none stands in another's way but by the limit."""
    raw, coins = made.transaction([made.output(payout)], coins=[made.coin(MINOR + FEE)], fee=FEE)
    paths: list[Any] = [{"generation": 0, "index": 0} for _ in coins]
    return write_ask(Ask.SIGN, {
        "approvals": [], "items": [{"payout": payout}], "network": simulated.NETWORK, "operation": "pay",
        "organisation": ORGANISATION, "paths": paths, "transaction": b64encode(raw).decode(),
    })


def said_to_all(made: Trio) -> list[str]:
    """`signed`, or the rule that refused it, of each."""
    to = [made.beneficiary() for _ in range(ASKED)]
    made.times.pass_by(2 * COOLING_MS)
    frames = [question(made, made.asked(each, MINOR)) for each in to]
    made.streams.pop(ENGINE).close()
    together = threading.Barrier(CONNECTIONS_MAXIMUM)

    def ask(place: int) -> list[str]:
        said = []
        with made._connect(ENGINE) as stream:
            together.wait()
            for frame in frames[place::CONNECTIONS_MAXIMUM]:
                stream.sendall(len(frame).to_bytes(4) + frame)
                answer = read_answer(receive(stream))
                said.append(answer.rule if isinstance(answer, RefusedAnswer) else "signed")
        return said

    with ThreadPoolExecutor(CONNECTIONS_MAXIMUM) as askers:
        return [each for said in askers.map(ask, range(CONNECTIONS_MAXIMUM)) for each in said]


def said_at_the_limit(*patches: Patch) -> list[str]:
    with trio(*patches, limits=[limit("B", "organisation", "unattended", ROOM * MINOR)]) as made:
        return said_to_all(made)


def test_of_sixty_four_at_once_at_a_limit_with_room_for_ten_exactly_ten_are_signed() -> None:
    said = said_at_the_limit()
    assert len(said) == ASKED
    assert said.count("signed") == ROOM
    assert set(said) == {"signed", "limit-window"}


def test_control_without_the_limit_all_are_signed() -> None:
    assert said_at_the_limit(LIMITS_OUT) == ["signed"] * ASKED
