"""An EVM node of the sandbox's kind for tests of contracts: anvil, with every account ready to send, and gas for free.

Time is the tests' own: each block is a second after the one before, unless a test says otherwise.
"""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import eth_abi
from sha3 import keccak_256
from tests.ports import port_block

from strongroom.sandbox import parts
from strongroom.sandbox.process import die_with_parent

ARTIFACTS = Path(__file__).parents[2] / "contracts/artifacts"
START = 1_800_000_000
GAS = 16_000_000
DEPLOYER = "0x" + "de" * 20


class NodeError(Exception):
    """The node doesn't take the request at all."""


class Reverted(Exception):
    """A chain transaction or call failed. `name` is the contract's own error, or what else is known."""

    def __init__(self, name: str, *values: object) -> None:
        super().__init__(name, *values)
        self.name = name
        self.values = values


@dataclass(frozen=True)
class Log:
    address: str
    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Receipt:
    digest: str
    gas: int
    time: int
    raw_logs: Sequence[Mapping[str, Any]]
    logs: Sequence[Log]
    """Those whose event the called contract's ABI knows."""

    def named(self, name: str) -> list[Mapping[str, Any]]:
        return [log.values for log in self.logs if log.name == name]


class Node:
    """By JSON-RPC over one connection: a thousand calls a second, of which plays make many."""

    def __init__(self, port: int, chain_id: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self.port = port
        self.chain_id = chain_id

    def rpc(self, method: str, *parameters: object) -> Any:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        self._connection.request("POST", "/", json.dumps(asked).encode(), {"Content-Type": "application/json"})
        answer = json.loads(self._connection.getresponse().read())
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        self._connection.close()

    @property
    def now(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def next_block_at(self, at: int) -> None:
        self.rpc("evm_setNextBlockTimestamp", at)

    def snapshot(self) -> str:
        return str(self.rpc("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        assert self.rpc("evm_revert", snapshot)

    def send(self, sender: str, to: str | None, data: bytes, *, gas: int = GAS) -> Mapping[str, Any]:
        """The receipt. Raises: Reverted, with the raw revert data as `values[0]`."""
        request = {"from": sender, "data": "0x" + data.hex(), "gas": hex(gas), "gasPrice": "0x0"}
        digest = self.rpc("eth_sendTransaction", request if to is None else {**request, "to": to})
        return self.receipt(digest)

    def receipt(self, digest: str) -> Mapping[str, Any]:
        """Of what was sent, after a block. The node's own mining isn't used: it goes on when its receipts are out."""
        self.rpc("evm_mine")
        receipt: Mapping[str, Any] = self.rpc("eth_getTransactionReceipt", digest)
        if receipt["status"] != "0x1":
            traced = self.rpc("debug_traceTransaction", digest, {"tracer": "callTracer"})
            raise Reverted(str(traced.get("error")), bytes.fromhex(traced.get("output", "0x")[2:]))
        return receipt

    def call(self, to: str, data: bytes, *, sender: str = DEPLOYER) -> bytes:
        """What a call would answer after the newest block. Raises: Reverted."""
        try:
            answer = self.rpc("eth_call", {"from": sender, "to": to, "data": "0x" + data.hex()}, "latest")
        except NodeError as fault:
            raise Reverted("call", bytes.fromhex(str(fault.args[0].get("data", "0x"))[2:])) from fault
        return bytes.fromhex(answer[2:])

    def deploy(
        self, abi: Sequence[Mapping[str, Any]], bytecode: str, *arguments: object, deployer: str = DEPLOYER
    ) -> "Contract":
        constructor: Mapping[str, Any] = next((each for each in abi if each["type"] == "constructor"), {"inputs": []})
        contract = Contract(self, "", abi)
        try:
            receipt = self.send(deployer, None, bytes.fromhex(bytecode[2:]) + _encoded(constructor, arguments))
        except Reverted as fault:
            raise contract.named(fault) from fault
        return Contract(self, str(receipt["contractAddress"]).lower(), abi)

    def deploy_artifact(self, name: str, *arguments: object, deployer: str = DEPLOYER) -> "Contract":
        artifact = json.loads((ARTIFACTS / f"{name}.json").read_text())
        return self.deploy(artifact["abi"], artifact["bytecode"], *arguments, deployer=deployer)


class Contract:
    """A contract at its address, spoken to by its ABI. Addresses are lower case, tuples stand for structs."""

    def __init__(self, node: Node, address: str, abi: Sequence[Mapping[str, Any]]) -> None:
        self.node = node
        self.address = address
        self.abi = abi
        self._functions = {each["name"]: each for each in abi if each["type"] == "function"}
        self._errors = {selector(each): each for each in abi if each["type"] == "error"}
        self._events = {_topic(each): each for each in abi if each["type"] == "event"}

    def data(self, name: str, *arguments: object) -> bytes:
        function = self._functions[name]
        return selector(function) + _encoded(function, arguments)

    def read(self, name: str, *arguments: object) -> Any:
        """One value, or a tuple of several. Raises: Reverted."""
        try:
            answer = self.node.call(self.address, self.data(name, *arguments))
        except Reverted as fault:
            raise self.named(fault) from fault
        values = eth_abi.decode([_type(each) for each in self._functions[name]["outputs"]], answer)
        return values[0] if len(values) == 1 else values

    def send(self, sender: str, name: str, *arguments: object, gas: int = GAS) -> Receipt:
        """Raises: Reverted."""
        return self.send_data(sender, self.data(name, *arguments), gas=gas)

    def send_data(self, sender: str, data: bytes, *, gas: int = GAS) -> Receipt:
        try:
            return self.told(self.node.send(sender, self.address, data, gas=gas))
        except Reverted as fault:
            raise self.named(fault) from fault

    def told(self, receipt: Mapping[str, Any]) -> Receipt:
        block = int(receipt["logs"][0]["blockTimestamp"], 16) if receipt["logs"] else 0
        known = [log for log in receipt["logs"] if log["topics"] and log["topics"][0] in self._events]
        return Receipt(
            digest=receipt["transactionHash"], gas=int(receipt["gasUsed"], 16), time=block, raw_logs=receipt["logs"],
            logs=[self._log(log) for log in known],
        )

    def named(self, fault: Reverted) -> Reverted:
        data = fault.values[0] if fault.values else b""
        assert isinstance(data, bytes)
        error = self._errors.get(data[:4])
        if error is None:
            return Reverted(_reason(data) or fault.name, data)
        return Reverted(error["name"], *eth_abi.decode([_type(each) for each in error["inputs"]], data[4:]))

    def _log(self, log: Mapping[str, Any]) -> Log:
        event = self._events[log["topics"][0]]
        indexed = [each for each in event["inputs"] if each["indexed"]]
        plain = [each for each in event["inputs"] if not each["indexed"]]
        topics = [eth_abi.decode([_type(each)], bytes.fromhex(topic[2:]))[0]
                  for each, topic in zip(indexed, log["topics"][1:], strict=True)]
        values = eth_abi.decode([_type(each) for each in plain], bytes.fromhex(log["data"][2:]))
        return Log(log["address"], event["name"], {
            **{each["name"]: value for each, value in zip(indexed, topics, strict=True)},
            **{each["name"]: value for each, value in zip(plain, values, strict=True)},
        })


def keccak(data: bytes) -> bytes:
    return bytes(keccak_256(data).digest())


def selector(item: Mapping[str, Any]) -> bytes:
    return keccak(_signature(item))[:4]


def _signature(item: Mapping[str, Any]) -> bytes:
    return f"{item['name']}({','.join(_type(each) for each in item['inputs'])})".encode()


def _topic(event: Mapping[str, Any]) -> str:
    return "0x" + keccak(_signature(event)).hex()


def _type(parameter: Mapping[str, Any]) -> str:
    kind = str(parameter["type"])
    if kind.startswith("tuple"):
        return f"({','.join(_type(each) for each in parameter['components'])}){kind.removeprefix('tuple')}"
    return kind


def _encoded(function: Mapping[str, Any], arguments: Sequence[object]) -> bytes:
    return eth_abi.encode([_type(each) for each in function["inputs"]], arguments)


def _reason(data: bytes) -> str:
    """The text of a `require`, or of nothing."""
    if data[:4] != keccak(b"Error(string)")[:4]:
        return ""
    return str(eth_abi.decode(["string"], data[4:])[0])


@contextmanager
def running_node(chain_id: int = 31337, *options: str) -> Iterator[Node]:
    """A node that ends with us. `options` stand last, and so win."""
    command = parts.anvil(lambda _: None)
    with port_block() as ports:
        port = ports.take()
        process = subprocess.Popen(
            [
                *command, "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(chain_id), "--silent",
                "--no-mining", "--auto-impersonate", "--base-fee", "0", "--timestamp", str(START),
                "--no-request-size-limit", *options,
            ],
            preexec_fn=die_with_parent,
        )
        node = Node(port, chain_id)
        try:
            _wait(node, process)
            node.rpc("anvil_setBlockTimestampInterval", 1)
            yield node
        finally:
            node.close()
            process.kill()
            process.wait()


def _wait(node: Node, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert int(node.rpc("eth_chainId"), 16) == node.chain_id
            return
        except OSError:
            node.close()
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
