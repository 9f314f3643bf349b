"""Makes payouts-1000.csv, which stands beside it: a thousand made-up payees, paid in BTC, USDC and USDT by turns.

    .venv/bin/python examples/payouts_1000.py > examples/payouts-1000.csv

Each address is derived from a seed that everybody knows, the first test vector of BIP-39 and BIP-84, so nobody's real
address is in the file, and anybody can say which ones they are. All is worth less than 10,000 USD by the ceilings of
the sandbox's policy, so one person's approval is enough.
"""

import hashlib
import hmac

from coincurve import PrivateKey

from strongroom.formats.bitcoin_address import bitcoin_address_of
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import address_of

PHRASE = " ".join(["abandon"] * 11 + ["about"])
REGTEST, CHAIN = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328", "eip155:31337"
PAYEES = 1_000
HARD = 2**31
BITCOIN_PATH, EVM_PATH = (84 + HARD, 1 + HARD, HARD, 0), (44 + HARD, 60 + HARD, HARD, 0)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

Node = tuple[int, bytes]
"""Private key and chain code."""


def master(phrase: str) -> Node:
    """BIP-39 without a passphrase, and BIP-32."""
    seed = hashlib.pbkdf2_hmac("sha512", phrase.encode(), b"mnemonic", 2048)
    made = hmac.digest(b"Bitcoin seed", seed, "sha512")
    return int.from_bytes(made[:32]), made[32:]


def child(parent: Node, index: int) -> Node:
    """BIP-32, `CKDpriv`."""
    key, chain = parent
    start = b"\0" + key.to_bytes(32) if index >= HARD else public(key)
    made = hmac.digest(chain, start + index.to_bytes(4), "sha512")
    return (int.from_bytes(made[:32]) + key) % ORDER, made[32:]


def public(key: int, *, compressed: bool = True) -> bytes:
    return PrivateKey(key.to_bytes(32)).public_key.format(compressed=compressed)


def derive(node: Node, path: tuple[int, ...]) -> Node:
    for index in path:
        node = child(node, index)
    return node


def bitcoin_address(account: Node, index: int) -> str:
    """P2WPKH, as BIP-84 says, on regtest."""
    key_hash = hashlib.new("ripemd160", hashlib.sha256(public(child(account, index)[0])).digest()).digest()
    return str(bitcoin_address_of(b"\x00\x14" + key_hash, REGTEST))


def evm_address(account: Node, index: int) -> str:
    return eip55(address_of(public(child(account, index)[0], compressed=False)))


def rows() -> list[str]:
    """From 3.00 to 12.99 USD each, no two alike within an asset; a satoshi counts as 0.0015 USD."""
    root = master(PHRASE)
    bitcoin, evm = derive(root, BITCOIN_PATH), derive(root, EVM_PATH)
    made = ["name,network,address,asset,amount,external_id,remittance_information"]
    for number in range(PAYEES):
        turn, asset = number // 3, ("BTC", "USDC", "USDT")[number % 3]
        cents = 300 + turn * 617 % 1_000
        if asset == "BTC":
            paid = f"{REGTEST},{bitcoin_address(bitcoin, turn)},{asset},{cents * 20 // 3}"
        else:
            paid = f"{CHAIN},{evm_address(evm, number)},{asset},{cents * 10_000}"
        made.append(f"Driver {number + 1:04},{paid},week-48-{number + 1:04},Trips of week 48")
    return made


if __name__ == "__main__":
    print("\n".join(rows()))
