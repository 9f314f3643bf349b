"""A thousand signed requests through the signer in one batch, against verifying a thousand signatures and nothing else.

Signer, link and guard are the processes that they are, over their sockets, with the production gate: each request is
parsed, its signature verified, journaled and synced, then all are put into one chain transaction, which is read,
decided, journaled, cosigned by guard and signed. Their payees are known and have cooled off. Both sides use PyNaCl.
"""

import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from nacl.signing import VerifyKey
from tests.faults.trio import COOLING_MS, Trio, trio
from tests.signer.test_locked_signer import receive
from tests.signer.world import ORGANISATION, limit

from strongroom.formats import simulated
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.signer.desk import ENGINE

COUNT: Final = 1_000
MINOR: Final = 1_000
FEE: Final = 40_000


class SignerBench:
    """One signer, which has seen `COUNT` payees; every batch pays each of them once."""

    def __init__(self, made: Trio) -> None:
        self._made = made
        self._to = [made.beneficiary() for _ in range(COUNT)]
        made.times.pass_by(2 * COOLING_MS)

    def requests(self) -> list[ClientEvidence]:
        made = self._made
        return [made.payout_evidence(made.payout_body(to, MINOR), f"key-{next(made.numbers)}") for to in self._to]

    def verified_per_s(self, requests: list[ClientEvidence]) -> float:
        """The signatures alone, with the key that is known."""
        key = VerifyKey(bytes(self._made.keys.payer.verify_key))
        began = time.perf_counter()
        for each in requests:
            key.verify(each.base, each.signature)
        return COUNT / (time.perf_counter() - began)

    def signed_per_s(self, requests: list[ClientEvidence]) -> float:
        """Registered, decided and signed. Raises: AssertionError unless all of them were."""
        made = self._made
        register = self._frame(Ask.INTENTS, evidence=[each.document() for each in requests])
        began = time.perf_counter()
        rows = self._answer(register)
        middle = time.perf_counter()
        payouts = [row["payout"] for row in rows]
        raw, _ = made.transaction([(to.where, MINOR) for to in self._to], fee=FEE)
        sign = self._frame(
            Ask.SIGN, approvals=[], items=[{"payout": each} for each in payouts], network=simulated.NETWORK,
            operation="pay", paths=[{"generation": 0, "index": 0}], transaction=b64encode(raw).decode(),
        )
        began += time.perf_counter() - middle  # what the engine does meanwhile isn't the signer's
        assert self._answer(sign)["signed"]
        return COUNT / (time.perf_counter() - began)

    def _frame(self, ask: Ask, **body: Any) -> bytes:
        raw = write_ask(ask, {"organisation": ORGANISATION, **body})
        return len(raw).to_bytes(4) + raw

    def _answer(self, frame: bytes) -> Any:
        stream = self._made.streams[ENGINE]
        stream.sendall(frame)
        answer = read_answer(receive(stream))
        assert not isinstance(answer, RefusedAnswer), answer
        return answer


@contextmanager
def signer_bench() -> Iterator[SignerBench]:
    large = str(10**12)
    with trio(limits=[limit("B", "organisation", "unattended", 10**12)], fee_budget_reference_minor=large) as made:
        yield SignerBench(made)
