"""The engine's seat, taken by an attacker: the engine's user at the signer's socket, its role in PostgreSQL, a node.

What clients signed it reads from the record and shows, as the engine must; what it builds is its own. The engine that
sat there is ended, so nobody publishes the wallet's addresses and watch sees nothing of what this one broadcasts.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx
from tests.adversary.firm import Firm
from tests.signer.world import AskRefused

from strongroom.formats import simulated
from strongroom.protocol.approval import PersonAssertion, assertion_document
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer

Coin = dict[str, Any]


class Seat:
    """At the signer, for one organisation; `spent` are coins that were given a signature."""

    def __init__(self, firm: Firm) -> None:
        self.firm, self.ground = firm, firm.ground
        self.signed: list[bytes] = []
        self.spent: set[tuple[str, int]] = set()
        self._socket = self.ground.engine_socket()
        self.ground.closing.append(self._socket.close)

    # The socket.

    def exchange(self, frame: bytes) -> bytes:
        self._socket.sendall(len(frame).to_bytes(4) + frame)
        return self._receive(int.from_bytes(self._receive(4)))

    def again(self) -> None:
        """A new connection, after the signer ended."""
        self._socket.close()
        self._socket = self.ground.engine_socket()
        self.ground.closing.append(self._socket.close)

    def _receive(self, length: int) -> bytes:
        raw = b""
        while len(raw) < length:
            part = self._socket.recv(length - len(raw))
            if not part:
                raise ConnectionError("the signer hung up")
            raw += part
        return raw

    def ask(self, ask: Ask, **body: JsonValue) -> Any:
        """Raises: AskRefused."""
        document = body if ask is Ask.STATUS else {"organisation": self.firm.id, **body}
        answer = read_answer(self.exchange(write_ask(ask, document)))
        if isinstance(answer, RefusedAnswer):
            raise AskRefused(answer.rule, answer.reason)
        return answer

    # What clients signed.

    def show(self) -> None:
        """Everything in the record, by the role that the engine has; what the signer makes of each is its affair."""
        rows = self.ground.query(
            "engine", "SELECT path, signature_base, signature, body FROM strongroom.evidence WHERE organisation = $1 "
            "ORDER BY id", self.firm.id,
        )
        for row in rows:
            evidence = ClientEvidence(row["signature_base"], row["signature"], row["body"]).document()
            kind = row["path"].split("/")[2]
            with suppress(AskRefused):
                if kind == "payout-runs":
                    self.ask(Ask.RUN, evidence=evidence)
                else:
                    self.ask(Ask.INTENTS if kind == "payouts" else Ask.DESTINATIONS, evidence=[evidence])

    def request(self, payout: str) -> bytes:
        """The signer's approval request for it. Raises: AskRefused."""
        return b64decode(self.ask(Ask.REQUEST, subject=payout)["request"])

    def approval(self, subject: str, request: bytes, given: Sequence[PersonAssertion]) -> dict[str, JsonValue]:
        assertions: list[JsonValue] = [assertion_document(each) for each in given]
        return {"subject": subject, "request": b64encode(request).decode(), "assertions": assertions}

    # What it builds.

    def coins(self, addresses: Sequence[str] | None = None) -> list[Coin]:
        """The wallet's coins that no signature of ours spends."""
        body = {"addresses": list(addresses or self.firm.addresses)}
        rows = self.ground.chain.post("/coins", json=body).raise_for_status().json()["coins"]
        return [each for each in rows if (each["txid"], each["index"]) not in self.spent]

    def build(
        self, outputs: Sequence[tuple[str, int]], *, coins: Sequence[Coin] | None = None, fee: int = 500,
        change: int | None = None,
    ) -> tuple[bytes, list[Coin]]:
        """These outputs and the rest as change to the address that comes next, from the first free coin."""
        taken = list(coins) if coins is not None else self.coins()[:1]
        rest = sum(int(each["amount"]) for each in taken) - sum(minor for _, minor in outputs) - fee
        rest = rest if change is None else change
        made = [simulated.Output(minor, address) for address, minor in outputs]
        if rest:
            wallet = self.ask(Ask.ADDRESSES, network=simulated.NETWORK, generation=0, first=0, count=1)
            made.append(simulated.Output(rest, self.firm.addresses[wallet["change_next"]]))
        spent = tuple(
            simulated.Input(bytes.fromhex(each["txid"]), each["index"], int(each["amount"]), each["address"])
            for each in taken
        )
        return simulated.encode_unsigned(simulated.Transaction(spent, tuple(made))), taken

    def sign(
        self, payouts: Sequence[str], outputs: Sequence[tuple[str, int]], *, operation: str = "pay",
        approvals: Sequence[dict[str, JsonValue]] = (), items: Sequence[JsonValue] | None = None,
        paths: Sequence[tuple[int, int]] | None = None, **how: Any,
    ) -> bool:
        """Asks for a signature over them, as a payment of these payouts. Whether it was given, and then kept."""
        raw, taken = self.build(outputs, **how)
        places = paths or [(0, self.firm.addresses.index(each["address"])) for each in taken]
        try:
            answer = self.ask(
                Ask.SIGN, operation=operation, network=simulated.NETWORK, transaction=b64encode(raw).decode(),
                paths=[{"generation": generation, "index": index} for generation, index in places],
                items=list(items) if items is not None else [{"payout": payout} for payout in payouts],
                approvals=list(approvals),
            )
        except AskRefused:
            return False
        self.signed.append(b64decode(answer["signed"]))
        self.spent.update((each["txid"], each["index"]) for each in taken)
        return True

    def attest(self, chain_transaction: str, height: int) -> bytes | None:
        """Guard's word that it is final, None if guard's own node doesn't show it there."""
        body = {"chain_transaction": chain_transaction, "height": height, "network": simulated.NETWORK}
        answer = self.ground.guard.post("/v1/attestations", json=body)
        return b64decode(answer.json()["attestation"]) if answer.status_code == 200 else None

    # What it does with it.

    def broadcast(self) -> None:
        """All that was signed, as often as it takes for parents to come before children; mined."""
        for _ in range(2):
            for signed in self.signed:
                with suppress(httpx.HTTPError):
                    self.ground.chain.post("/transactions", json={"signed": signed.hex()})
        self.ground.mine(2)

