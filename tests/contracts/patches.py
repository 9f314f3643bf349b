"""Copies of the vault's source with a rule taken out, compiled by the pinned compiler, for the controls of attacks.

All copies are compiled at once, without the optimiser, by the first test process that needs one; the others of the run
read what it made.
"""

import fcntl
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strongroom.sandbox import parts

SOURCE = Path(__file__).parents[2] / "contracts/HotVault.sol"
COMPILE_TIMEOUT_S = 300

Change = tuple[str, str]
Compiled = Mapping[str, Any]

GAS: Change = ("if (gasleft() < needed) revert GasTooLow();", "")
"""While this check stands nothing can be paid inside of a payment of the same token: too little gas gets there."""
ID = "abi.encode(block.chainid, address(this), token"
FLAG = "        if (skipped != 0) fate.skipped = uint248(skipped);"
EXECUTED = "        fate.status = Status.Executed;"
CHARGE = "        _charge(limits[token], token, items);"
SEND = "        (uint256 paid, uint256 skipped) = _transferAll(token, limits[token].gasPerItem, items);"
SET = "        Limit storage limit = limits[token];\n        limit.spent"
ONLY = "    modifier only(address party) {\n        if (msg.sender != party)"

PATCHES: Mapping[str, Sequence[Change]] = {
    "no limit": [("if (spent > limit.capacity) revert", "if (false) revert")],
    "no maximum": [("if (amount > maximum) revert", "if (false) revert")],
    "no pause": [("if (paused) revert VaultPaused();", "")],
    "no deadline": [("if (block.timestamp > deadline) revert DeadlinePassed();", "")],
    "no status": [("if (fate.status != Status.None) revert AlreadyDecided(fate.status);", "")],
    "id without chain": [(ID, "abi.encode(address(this), token")],
    "id without vault": [(ID, "abi.encode(block.chainid, token")],
    "id isn't checked": [("if (batch != expected) revert WrongBatch(expected);", "")],
    "executed can be killed": [("if (fate.status == Status.Executed) revert KillExecuted(batches[i]);", "")],
    "kills leave no mark": [("            fate.status = Status.Killed;", "")],
    "retries clear no flag": [("            fate.skipped ^= flag;", "")],
    "retries need no flag": [
        ("if (fate.skipped & flag == 0) revert NotSkipped(batch, index);", ""), ("fate.skipped ^= flag;", ""),
    ],
    "skips leave no flag": [(FLAG, "")],
    "executed after the calls": [GAS, (EXECUTED, ""), (FLAG, f"{EXECUTED}\n{FLAG}")],
    "charged after the calls": [
        GAS,
        (CHARGE, f"        uint256 spentBefore = _spent(limits[token]);\n{CHARGE}"),
        (SEND, f"{SEND}\n        limits[token].spent = uint96(spentBefore + paid);"),
        # The compiler has no room for one variable more.
        (FLAG, ""), ("emit Executed(batch, token, paid,", "emit Executed(expected, token, paid,"),
    ],
    "one bucket for all": [
        (CHARGE, CHARGE.replace("limits[token]", "limits[address(0)]")),
        (SEND, SEND.replace("limits[token]", "limits[address(0)]")),
        (SET, SET.replace("limits[token]", "limits[address(0)]")),
    ],
    "a new limit forgets": [("limit.spent = uint96(_spent(limit));", "limit.spent = 0;")],
    "gas isn't looked at": [GAS],
    "gas has no bound": [GAS, ("amount, gasPerItem)) {", "amount, gasleft())) {")],
    "what is returned is copied": [(
        "if (_transfer(token, address(uint160(item >> 96)), amount, gasPerItem)) {",
        "(bool done, bytes memory answer) = token.call{gas: gasPerItem}("
        "abi.encodeWithSelector(0xa9059cbb, address(uint160(item >> 96)), amount));\n"
        "            if (done && (answer.length == 0 || (answer.length > 31 && abi.decode(answer, (bool))))) {",
    )],
    "code isn't looked for": [("limit.gasPerItem == 0 || token.code.length == 0", "limit.gasPerItem == 0")],
    "a batch may be all skipped": [("if (skipped == type(uint256).max >> (256 - items.length))", "if (false)")],
    "any count": [("if (items.length == 0 || items.length > MAXIMUM_ITEMS) revert", "if (false) revert")],
    "an unpause voids nothing": [("        epoch += 1;", "")],
    "a pause for any vault": [("block.chainid, address(this))\n        );", "block.chainid, address(0))\n        );")],
    "a pause for any chain": [('keccak256("1"), block.chainid, address(this))', 'keccak256("1"), 0, address(this))')],
    "anybody pauses": [("if (ecrecover(pauseDigest(), v, r, s) != guardian) revert WrongSignature();", "")],
    "sweeps go to the caller": [("_transfer(token, owner, balance", "_transfer(token, msg.sender, balance")],
    "anybody is the owner": [(ONLY, ONLY.replace("if (", "if (party == operator && "))],
    "anybody is the operator": [(ONLY, ONLY.replace("if (", "if (party == owner && "))],
    "anybody sweeps": [("if (msg.sender != operator && msg.sender != owner) revert NotAllowed();", "")],
}


def patched(name: str) -> str:
    """The source without that rule; each text that is replaced stands there once."""
    text = SOURCE.read_text()
    for old, new in PATCHES[name]:
        assert text.count(old) == 1, f"{name}: {old!r} stands there {text.count(old)} times"
        text = text.replace(old, new)
    return text


def compiled(folder: Path) -> Mapping[str, Compiled]:
    """Every copy by its patch's name; compiled into `folder` by whoever comes first."""
    file = folder / "patched.json"
    with (folder / "patched.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_text(json.dumps(_compile()))
    found: Mapping[str, Compiled] = json.loads(file.read_text())
    return found


def _compile() -> Mapping[str, Compiled]:
    files = {name: f"{number}.sol" for number, name in enumerate(PATCHES)}
    asked = {
        "language": "Solidity",
        "sources": {file: {"content": patched(name)} for name, file in files.items()},
        "settings": {
            "optimizer": {"enabled": False}, "evmVersion": "cancun", "metadata": {"bytecodeHash": "none"},
            "outputSelection": {"*": {"HotVault": ["abi", "evm.bytecode.object"]}},
        },
    }
    program = (
        "const solc = require(process.argv[1]);"
        "process.stdout.write(solc.compile(require('fs').readFileSync(0, 'utf8')));"
    )
    compiler = parts.node_modules(lambda _: None) / "node_modules/solc"
    done = subprocess.run(
        ["node", "-e", program, compiler], input=json.dumps(asked), capture_output=True, text=True, check=True,
        timeout=COMPILE_TIMEOUT_S,
    )
    answer = json.loads(done.stdout)
    errors = [each["formattedMessage"] for each in answer.get("errors", []) if each["severity"] == "error"]
    assert errors == [], "\n".join(errors)
    contracts = {name: answer["contracts"][file]["HotVault"] for name, file in files.items()}
    return {
        name: {"abi": each["abi"], "bytecode": "0x" + each["evm"]["bytecode"]["object"]}
        for name, each in contracts.items()
    }
