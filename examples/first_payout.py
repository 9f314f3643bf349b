"""The first payout, by the SDK. Run it with the environment of the checkout, beside a sandbox that `make up` started:

    .venv/bin/python examples/first_payout.py [DIR]

DIR is the sandbox's folder, `.sandbox` if not given. Each run asks for one more trip to be paid; with the name of a
trip as the second argument it asks for that one, however often it runs, and there is one payout.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from strongroom.sdk import ApiError, Client

SETTLED_WITHIN_S = 60
SIMULATED = ("SIM", "sim:sandbox", "sim1qmirvmtn3qzyqv5jap7rwts7caqmm335aea3unkm", "1250000000")
EVM = ("USDC", "eip155:31337", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "12500000")
"""Asset, network, address, and 12.50 in base units."""


def client(sandbox: dict[str, Any], name: str) -> Client:
    """A client of the sandbox; in production each program holds its one key and no other."""
    known = sandbox["clients"][name]
    seed = bytes.fromhex(Path(known["private_key_file"]).read_text().strip())
    return Client(
        sandbox["api_url"], sandbox["deployment"], sandbox["organisation"], known["client_id"], known["key_id"], seed
    )


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".sandbox")
    trip = sys.argv[2] if len(sys.argv) > 2 else f"trip-{time.time_ns()}"
    sandbox: dict[str, Any] = json.loads((folder / "sandbox.json").read_text())
    asset, network, address, amount = SIMULATED if "SIM" in sandbox["assets"] else EVM
    with client(sandbox, "beneficiaries") as declarer, client(sandbox, "payouts") as payer:
        rosa = declarer.beneficiaries.create(
            idempotency_key="first-beneficiary",
            name="Rosa Example",
            destination={"network": network, "address": address},
        )
        print(f"beneficiary {rosa['id']}, destination {rosa['destination']['digest'][:16]}…")

        # The digest is signed along with the amount: nobody can hang another address on the beneficiary's id.
        payment = {
            "beneficiary": rosa["id"],
            "destination_digest": rosa["destination"]["digest"],
            "asset": sandbox["assets"][asset],
            "amount": amount,
            "external_id": trip,
        }
        payout = payer.payouts.create(idempotency_key=trip, **payment)
        held = payout["hold"]
        waits = f", {held['reason']} until {held['retry_at']}" if held else ""
        print(f"payout {payout['id']}: {payout['state']}{waits}")

        again = payer.payouts.create(idempotency_key=trip, **payment)
        print(f"the same request again: the same payout ({again['id'] == payout['id']})")

        try:
            payer.payouts.create(idempotency_key=trip, **{**payment, "amount": "99"})
        except ApiError as refused:
            print(f"the same key with another amount: {refused}")

        receipt = payer.payouts.receipt(payout["id"])  # asks again until watch has signed a checkpoint with it
        print(f"leaf {receipt['leaf_index']} of {receipt['tree_size']} in the audit log, signed by watch:")
        print(receipt["checkpoint"])

        deadline = time.monotonic() + SETTLED_WITHIN_S
        while payout["state"] != "settled" and time.monotonic() < deadline:
            time.sleep(0.2)
            payout = payer.payouts.get(payout["id"])
        print(f"now it is {payout['state']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
