"""A hot vault on the sandbox's EVM node for each organisation, with its limits, its tokens, and ether for gas.

Its address follows from the organisation alone, so that the policy can name it before it is there. Its owner is the
treasury's Safe, two of three; its guardian the sandbox's, one for all vaults, which has some ether for gas as well.
Whoever deploys it is an account that the node unlocks for whoever asks it. A node that was killed may have lost what it
hadn't saved; opening the vaults again brings them back to where they were.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from coincurve import PrivateKey

from strongroom.formats.evm_abi import Value, encode_call, encode_values
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import address_of, keccak256
from strongroom.sandbox.evm import ARTIFACTS, Evm, created, mint_call
from strongroom.sandbox.safe import deploy_safe, executed

USD: Final = 10**6
"""Both test tokens have six decimals."""
LIMIT: Final = (250_000 * USD, 3 * USD, 250_000 * USD, 100_000)
"""Of each token: what can leave at once, and comes back in a second; of one item; and the gas of a transfer. The policy
lets somewhat less out in a day."""
_DEPLOYER_ETHER: Final = 10**18
_GUARDIAN_ETHER: Final = 10**17
_SET_LIMIT: Final = "setLimit(address,uint96,uint96,uint96,uint32)"
_GAS: Final = 5_000_000


def vault_of(organisation: str) -> str:
    """Where its vault is: the first contract of who deploys it."""
    return created(_party(organisation, "deployer"), 0)


def guardian_key(folder: Path) -> Path:
    """The file with the key that can pause all vaults of a sandbox, made when it is asked for first."""
    file = folder / "guardian.key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32) + "\n")
    return file


def guardian_of(folder: Path) -> str:
    """Its address."""
    key = PrivateKey.from_hex(guardian_key(folder).read_text().strip())
    return eip55(address_of(key.public_key.format(compressed=False)))


def is_open(node: Evm, organisation: str) -> bool:
    """Raises: EvmError."""
    return bool(node.call("eth_getCode", vault_of(organisation), "latest") != "0x")


def open_vault(
    node: Evm, organisation: str, operator: str, tokens: Mapping[str, int], ether: int, owners: Sequence[PrivateKey],
    guardian: str,
) -> None:
    """`tokens` are base units by the token's address, which go to the vault; `ether`, in wei, to the operator. `owners`
    are those of the Safe that owns it. Raises: EvmError, PartError."""
    vault = vault_of(organisation)
    deployer, makes_safes = _party(organisation, "deployer"), _party("", "who deploys Safes")
    for account in (deployer, makes_safes):
        node.call("anvil_setBalance", account, hex(_DEPLOYER_ETHER))
        node.call("anvil_impersonateAccount", account)
    safe = deploy_safe(node, makes_safes, owners)
    bytecode = json.loads((ARTIFACTS / "HotVault.json").read_text())["bytecode"]
    parties: list[Value] = [bytes.fromhex(each[2:]) for each in (safe, operator, guardian)]
    makes = bytecode + encode_values("(address,address,address)", parties).hex()
    richest = node.call("eth_accounts")[0]
    sent = [
        {"from": deployer, "data": makes}, {"from": richest, "to": operator, "value": hex(ether)},
        {"from": richest, "to": guardian, "value": hex(_GUARDIAN_ETHER)},
    ]
    for nonce, (token, minor) in enumerate(tokens.items()):
        limit = encode_call(_SET_LIMIT, [bytes.fromhex(token[2:]), *LIMIT])
        said = executed(node, safe, nonce, vault, limit, owners)
        sent.append({"from": deployer, "to": safe, "data": "0x" + said.hex()})
        sent.append({"from": richest, "to": token, "data": mint_call(vault, minor)})
    node.send(*({**each, "gas": hex(_GAS)} for each in sent))


def _party(organisation: str, name: str) -> str:
    """An account that nobody has a key of."""
    return eip55(keccak256(f"strongroom sandbox: {name} of the vault of {organisation}".encode())[-20:])
