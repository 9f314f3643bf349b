"""A hot vault on the sandbox's EVM node for each organisation, with its limits, its tokens, and ether for gas.

Its address follows from the organisation alone, so that the policy can name it before it is there. The parties that no
process of the sandbox is, owner and guardian, are accounts that the node unlocks for whoever asks it. A node that was
killed may have lost what it hadn't saved; opening the vaults again brings them back to where they were.
"""

import json
from collections.abc import Mapping
from typing import Final

from strongroom.formats.evm_abi import Value, encode_call, encode_values
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import keccak256
from strongroom.sandbox.evm import ARTIFACTS, Evm, created, mint_call

USD: Final = 10**6
"""Both test tokens have six decimals."""
LIMIT: Final = (250_000 * USD, 3 * USD, 250_000 * USD, 100_000)
"""Of each token: what can leave at once, and comes back in a second; of one item; and the gas of a transfer. The policy
lets somewhat less out in a day."""
_OWNER_ETHER: Final = 10**18
_SET_LIMIT: Final = "setLimit(address,uint96,uint96,uint96,uint32)"
_GAS: Final = 5_000_000


def vault_of(organisation: str) -> str:
    """Where its vault is: the owner's first contract."""
    return created(_party(organisation, "owner"), 0)


def is_open(node: Evm, organisation: str) -> bool:
    """Raises: EvmError."""
    return bool(node.call("eth_getCode", vault_of(organisation), "latest") != "0x")


def open_vault(node: Evm, organisation: str, operator: str, tokens: Mapping[str, int], ether: int) -> None:
    """All in one block. `tokens` are base units by the token's address, which go to the vault; `ether`, in wei, to the
    operator. Raises: EvmError."""
    vault = vault_of(organisation)
    owner, guardian = _party(organisation, "owner"), _party(organisation, "guardian")
    node.call("anvil_setBalance", owner, hex(_OWNER_ETHER))
    node.call("anvil_impersonateAccount", owner)
    bytecode = json.loads((ARTIFACTS / "HotVault.json").read_text())["bytecode"]
    parties: list[Value] = [bytes.fromhex(each[2:]) for each in (owner, operator, guardian)]
    makes = bytecode + encode_values("(address,address,address)", parties).hex()
    richest = node.call("eth_accounts")[0]
    sent = [{"from": owner, "data": makes}, {"from": richest, "to": operator, "value": hex(ether)}]
    for token, minor in tokens.items():
        limit = encode_call(_SET_LIMIT, [bytes.fromhex(token[2:]), *LIMIT])
        sent.append({"from": owner, "to": vault, "data": "0x" + limit.hex()})
        sent.append({"from": richest, "to": token, "data": mint_call(vault, minor)})
    node.send(*({**each, "gas": hex(_GAS)} for each in sent))


def _party(organisation: str, name: str) -> str:
    return eip55(keccak256(f"strongroom sandbox: {name} of the vault of {organisation}".encode())[-20:])
