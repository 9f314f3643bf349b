"""A payout without the SDK: what docs/api.md says, and nothing else. A pattern for programs in other languages.

    .venv/bin/python examples/without_sdk.py [DIR]

Needs SHA-256, base64, Ed25519 and HTTP. It pays the beneficiary that first_payout.sh declared, under a key and a
name of its own, so that running it again makes no second payout.
"""

import base64
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LIFE_S = 120
SIMULATED = ("SIM", "sim:sandbox", "sim1qmirvmtn3qzyqv5jap7rwts7caqmm335aea3unkm")
EVM = ("USDC", "eip155:31337", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")


def canonical(value: dict[str, Any]) -> bytes:
    """RFC 8785, for objects with ASCII keys and without fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed_headers(
    sandbox: dict[str, Any], method: str, path: str, body: bytes, idempotency_key: str
) -> dict[str, str]:
    """The headers of a write, with the text that is signed built line by line."""
    client = sandbox["clients"]["payouts"]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(Path(client["private_key_file"]).read_text().strip()))
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    components = {
        "@method": method,
        "@authority": sandbox["api_url"].removeprefix("http://"),
        "@path": path,
        "@query": "?",
        "content-type": "application/json",
        "content-digest": digest,
        "idempotency-key": idempotency_key,
    }
    created = int(time.time())
    parameters = (
        "(" + " ".join(f'"{name}"' for name in components) + ")"
        f';created={created};expires={created + LIFE_S};keyid="{client["key_id"]}";alg="ed25519"'
        f';tag="strongroom/1/{sandbox["deployment"]}"'
    )
    lines = [*(f'"{name}": {value}' for name, value in components.items()), f'"@signature-params": {parameters}']
    signature = base64.b64encode(key.sign("\n".join(lines).encode())).decode()
    return {
        "Content-Type": "application/json",
        "Content-Digest": digest,
        "Idempotency-Key": idempotency_key,
        "Signature-Input": f"sig1={parameters}",
        "Signature": f"sig1=:{signature}:",
    }


def beneficiary_of(sandbox: dict[str, Any], name: str) -> dict[str, Any]:
    """Read with the bearer token, which can read and nothing else."""
    token = sandbox["clients"]["readonly"]["bearer"]
    request = Request(sandbox["api_url"] + "/v1/beneficiaries", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]
    return next(each for each in found if each["name"] == name)


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".sandbox")
    sandbox: dict[str, Any] = json.loads((folder / "sandbox.json").read_text())
    rosa = beneficiary_of(sandbox, "Rosa Example")
    asset, network, address = SIMULATED if "SIM" in sandbox["assets"] else EVM

    # Never copy the digest from the answer: compute it from what you know of the payee.
    record = {
        "address": address,
        "beneficiary": rosa["id"],
        "class": "declared",
        "name": "Rosa Example",
        "network": network,
        "organisation": sandbox["organisation"],
        "previous": None,
        "type": "strongroom/destination/v1",
        "version": 1,
    }
    digest = hashlib.sha256(b"strongroom/destination/v1\0" + canonical(record)).hexdigest()

    payment = {
        "beneficiary": rosa["id"],
        "destination_digest": digest,
        "asset": sandbox["assets"][asset],
        "amount": "7000000",
        "external_id": "trip 4712",
    }
    body = canonical(payment)
    headers = signed_headers(sandbox, "POST", "/v1/payouts", body, "without-sdk")
    with urlopen(Request(sandbox["api_url"] + "/v1/payouts", data=body, headers=headers)) as answer:
        payout = json.load(answer)
        replayed = answer.headers["Idempotent-Replayed"] == "true"

    named = {
        "client": sandbox["clients"]["payouts"]["client_id"],
        "idempotency_key": "without-sdk",
        "organisation": sandbox["organisation"],
        "type": "strongroom/payout-id/v1",
    }
    expected = "po_" + base64.b32encode(hashlib.sha256(canonical(named)).digest()).decode().lower()[:26]
    print(f"payout {payout['id']}: {payout['state']}{', as before' if replayed else ''}")
    print(f"its id is the one that we compute: {payout['id'] == expected}")
    return 0 if payout["id"] == expected else 1


if __name__ == "__main__":
    sys.exit(main())
