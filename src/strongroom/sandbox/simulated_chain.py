"""The simulated chain as a process: `python -m strongroom.sandbox.simulated_chain --listen HOST:PORT --state FILE`.

What a node is to a real rail: anybody on this machine may read, broadcast, and (because it is a sandbox) be given
coins, have blocks mined, and order faults. The rules are `simulated_ledger`'s. What was answered survives SIGKILL: a
change is appended to FILE and synced before its answer. Faults are not kept: a restarted chain behaves.
"""

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from strongroom.formats.address_error import AddressError
from strongroom.formats.simulated import AMOUNT_MAXIMUM, DUST_MINOR, NETWORK, parse_simulated_address
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object
from strongroom.sandbox.simulated_faults import Fault, FaultError, Faults, Reorg, parse_fault
from strongroom.sandbox.simulated_http import HEAD_MAXIMUM, Answer, BadRequest, Json, Server
from strongroom.sandbox.simulated_ledger import REORG_MAXIMUM, Known, Ledger, Refused

LOG = logging.getLogger("strongroom.simulated_chain")

HOST: Final = "127.0.0.1"
SOFTWARE: Final = "strongroom simulated chain 1"
FEE_MINOR_PER_1000_BYTES: Final = 2_000
"""What it advises, twice of what it relays."""
ADDRESSES_MAXIMUM: Final = 1_000
COINS_MAXIMUM: Final = 10_000
MINE_MAXIMUM: Final = 1_000
SETTLING_BLOCKS: Final = 6
"""The miner goes on for so many blocks after the last transaction, so that it gets its depth."""

_HASH = re.compile("[0-9a-f]{64}")
_NUMBER = re.compile("0|[1-9][0-9]{0,9}")
_AMOUNT = re.compile("[1-9][0-9]{0,18}")


class StateError(Exception):
    """The file can't be used: another process has it, or a line in its middle isn't one of ours."""


class State:
    """The append-only file: a line for each change, the first for the chain's salt. A torn last line was never answered
    and is cut off."""

    def __init__(self, file: Path) -> None:
        """Raises: StateError."""
        self._file: BinaryIO = file.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            raise StateError(f"{file}: another process has it") from fault
        self._file.seek(0)
        raw = self._file.read()
        whole = raw[: raw.rfind(b"\n") + 1]
        if whole != raw:
            self._file.truncate(len(whole))
        self.ledger = self._replay(file, whole.splitlines())

    def append(self, change: Json) -> None:
        """On the disk when it returns. An error ends the process: what it has in memory was promised to nobody."""
        try:
            self._file.write(encode(change) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            LOG.exception("the state can't be written")
            os._exit(1)

    def close(self) -> None:
        self._file.close()

    def _replay(self, file: Path, lines: list[bytes]) -> Ledger:
        if not lines:
            salt = os.urandom(32)
            self.append({"salt": salt.hex()})
            return Ledger(salt)
        try:
            ledger = Ledger(_bytes(parse_object(lines[0])["salt"]))
            for line in lines[1:]:
                _apply(ledger, parse_object(line))
        except (CanonicalError, KeyError, TypeError, ValueError, Refused) as fault:
            raise StateError(f"{file}: holds a line that isn't a change of this chain") from fault
        return ledger


class Chain:
    """Answers requests; the only one that changes the ledger."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.ledger = state.ledger
        self.faults = Faults()
        self._lost: dict[bytes, Known] = {}
        """What was forgotten on order: a liar remembers it."""

    def answer(self, method: str, path: str, body: Json) -> Answer:
        """Raises: BadRequest."""
        name, _, argument = path[1:].partition("/")
        call = _CALLS.get((method, name, bool(argument)))
        if call is None:
            return Answer(HTTPStatus.NOT_FOUND, {"error": "no such call"})
        handle, what = call
        answered = handle(self, argument, body)
        status = HTTPStatus.OK if answered is not None else HTTPStatus.NOT_FOUND
        return Answer(status, answered or {}, self.faults.delay_ms(what), self.faults.cuts(what))

    def mine(self, blocks: int, disconnect: int = 0, *, empty: bool = False) -> None:
        """One change in the file, so that a reorg is whole or not at all."""
        made: list[JsonValue] = []
        if disconnect:
            self.ledger.disconnect(disconnect)
        for _ in range(blocks):
            txids = () if empty else self.ledger.choose(self._is_held)
            salt = os.urandom(32)
            self.ledger.connect(txids, salt)
            made.append({"salt": salt.hex(), "txids": [txid.hex() for txid in txids]})
        self.state.append({"blocks": made, "disconnect": disconnect})

    def has_work(self) -> bool:
        """Whether the miner should go on."""
        recent = self.ledger.blocks[-SETTLING_BLOCKS:]
        return any(block.txids for block in recent) or bool(self.ledger.choose(self._is_held))

    def identity(self, _: str, __: Json) -> Json:
        genesis = self.ledger.blocks[0].hash.hex()
        return {"genesis": genesis, "network": NETWORK, "software": SOFTWARE}

    def tip(self, _: str, __: Json) -> Json:
        return {"hash": self.ledger.tip.hash.hex(), "height": self.ledger.tip.height}

    def fee_rate(self, _: str, __: Json) -> Json:
        return {"minor_per_1000_bytes": self.faults.fee_rate() or FEE_MINOR_PER_1000_BYTES}

    def coins(self, _: str, body: Json) -> Json:
        addresses = body.get("addresses")
        if not isinstance(addresses, list) or len(addresses) > ADDRESSES_MAXIMUM:
            raise BadRequest(f"addresses must be a list of at most {ADDRESSES_MAXIMUM}")
        found = self.ledger.unspent({_address(each) for each in addresses})
        found.sort(key=lambda each: -each[1].amount)
        return {"coins": [
            {"txid": txid.hex(), "index": index, "amount": str(coin.amount), "address": coin.address, "height": height}
            for (txid, index), coin, height in found[:COINS_MAXIMUM]
        ]}

    def broadcast(self, _: str, body: Json) -> Json:
        signed = _bytes(body.get("signed"))
        try:
            known = self.ledger.check(signed)
        except Refused as fault:
            return {"accepted": False, "permanent": fault.is_permanent, "reason": str(fault), "txid": None}
        if self.faults.loses_broadcast():
            self._lost[known.txid] = known
        else:
            self._take(known)
            self.faults.taken(known.txid, self.ledger.tip.height)
        return {"accepted": True, "permanent": None, "reason": None, "txid": known.txid.hex()}

    def transaction(self, argument: str, _: Json) -> Json:
        if _HASH.fullmatch(argument) is None:
            raise BadRequest("an id must be 64 lower-case hex digits")
        txid = bytes.fromhex(argument)
        known = self.ledger.seen.get(txid)
        height = self.ledger.height_of.get(txid)
        claimed = known or self._lost.get(txid)
        lie = self.faults.lie(txid) if claimed is not None else None
        if claimed is not None and lie is not None:
            return self._confirmed(claimed.signed, self._lied_height(lie, height))
        if known is not None and height is not None:
            return self._confirmed(known.signed, height)
        if known is not None and txid in self.ledger.waiting:
            return _status("pending", known.signed)
        by = self.ledger.conflict(txid)
        return _status("unseen") if by is None else {**_status("conflicted"), "by": by.hex()}

    def block(self, argument: str, _: Json) -> Json | None:
        if _NUMBER.fullmatch(argument) is None:
            raise BadRequest("a height must be a number")
        if int(argument) > self.ledger.tip.height:
            return None
        block = self.ledger.blocks[int(argument)]
        return {
            "hash": block.hash.hex(), "height": block.height, "previous": block.previous.hex(),
            "salt": block.salt.hex(), "transactions": [self.ledger.seen[txid].signed.hex() for txid in block.txids],
        }

    def fund(self, _: str, body: Json) -> Json:
        address, amount = _address(body.get("address")), body.get("amount")
        if not isinstance(amount, str) or _AMOUNT.fullmatch(amount) is None:
            raise BadRequest("amount must be base units as a string")
        if not DUST_MINOR <= int(amount) <= AMOUNT_MAXIMUM:
            raise BadRequest(f"amount must be from {DUST_MINOR} to {AMOUNT_MAXIMUM}")
        try:
            known = self.ledger.check(self.ledger.faucet_payment(address, int(amount)))
        except Refused as fault:
            raise BadRequest(str(fault)) from fault
        self._take(known)
        return {"index": 0, "txid": known.txid.hex()}

    def mine_now(self, _: str, body: Json) -> Json:
        blocks = body.get("blocks")
        if type(blocks) is not int or not 1 <= blocks <= MINE_MAXIMUM:
            raise BadRequest(f"blocks must be from 1 to {MINE_MAXIMUM}")
        self.mine(blocks)
        return self.tip("", {})

    def order_fault(self, _: str, body: Json) -> Json:
        try:
            fault: Fault | Reorg = parse_fault(body)
        except FaultError as wrong:
            raise BadRequest(str(wrong)) from wrong
        if isinstance(fault, Reorg):
            if fault.depth > min(REORG_MAXIMUM, self.ledger.tip.height):
                raise BadRequest("depth must leave the first block, and be bounded")
            self.mine(fault.depth + 1, fault.depth, empty=True)
        else:
            self.faults.arm(fault, self.ledger.tip.height)
        return self.list_faults("", {})

    def list_faults(self, _: str, __: Json) -> Json:
        return {"faults": msgspec.to_builtins(self.faults.armed)}

    def clear_faults(self, _: str, __: Json) -> Json:
        self.faults = Faults()
        return self.list_faults("", {})

    def _take(self, known: Known) -> None:
        if not self.ledger.is_live(known.txid):
            self.ledger.take(known)
            self.state.append({"accept": known.signed.hex()})

    def _is_held(self, txid: bytes) -> bool:
        return self.faults.holds(txid, self.ledger.tip.height + 1)

    def _confirmed(self, signed: bytes, height: int) -> Json:
        return {
            **_status("confirmed", signed), "block_hash": self.ledger.blocks[height].hash.hex(), "height": height,
            "tip_height": self.ledger.tip.height,
        }

    def _lied_height(self, mode: str, height: int | None) -> int:
        """In `confirmed` mode the tip, whatever is true; in `other_block` mode the block before the true one."""
        return self.ledger.tip.height if mode == "confirmed" or not height else height - 1


_Handler = Callable[[Chain, str, Json], Json | None]

_CALLS: Final[Mapping[tuple[str, str, bool], tuple[_Handler, str]]] = {
    ("GET", "identity", False): (Chain.identity, "identity"),
    ("GET", "tip", False): (Chain.tip, "tip"),
    ("GET", "fee-rate", False): (Chain.fee_rate, "fee_rate"),
    ("POST", "coins", False): (Chain.coins, "coins"),
    ("POST", "transactions", False): (Chain.broadcast, "broadcast"),
    ("GET", "transactions", True): (Chain.transaction, "status"),
    ("GET", "blocks", True): (Chain.block, "block"),
    ("POST", "fund", False): (Chain.fund, ""),
    ("POST", "mine", False): (Chain.mine_now, ""),
    ("POST", "faults", False): (Chain.order_fault, ""),
    ("GET", "faults", False): (Chain.list_faults, ""),
    ("DELETE", "faults", False): (Chain.clear_faults, ""),
}


def _status(state: str, signed: bytes | None = None) -> Json:
    """Every field is there, so that a reader can be strict."""
    return {
        "block_hash": None, "by": None, "height": None, "signed": None if signed is None else signed.hex(),
        "state": state, "tip_height": None,
    }


def _apply(ledger: Ledger, change: Json) -> None:
    """One line of the file. Raises: many kinds; the caller knows which."""
    if "accept" in change:
        ledger.take(ledger.check(_bytes(change["accept"])))
        return
    depth, blocks = change["disconnect"], change["blocks"]
    if type(depth) is not int or not isinstance(blocks, list):
        raise TypeError
    if depth:
        ledger.disconnect(depth)
    for block in blocks:
        ledger.connect([_bytes(txid) for txid in block["txids"]], _bytes(block["salt"]))


def _bytes(text: JsonValue) -> bytes:
    """Raises: BadRequest."""
    if not isinstance(text, str) or re.fullmatch("([0-9a-f]{2})*", text) is None:
        raise BadRequest("signed must be lower-case hex")
    return bytes.fromhex(text)


def _address(text: JsonValue) -> str:
    """Raises: BadRequest."""
    try:
        parse_simulated_address(str(text), NETWORK)
    except AddressError as fault:
        raise BadRequest(f"address {fault}") from fault
    return str(text)


async def run(chain: Chain, port: int, mine_every_ms: int) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(Server(chain.answer).serve, HOST, port, limit=HEAD_MAXIMUM)
    LOG.info("listening on %s:%d, block %d", HOST, port, chain.ledger.tip.height)
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), mine_every_ms / 1_000 if mine_every_ms else None)
        if not stop.is_set() and chain.has_work():
            chain.mine(1)
    server.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m strongroom.sandbox.simulated_chain")
    parser.add_argument("--listen", required=True, metavar=f"{HOST}:PORT")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--mine-every-ms", type=int, default=0, help="0: only when asked")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    host, _, port = arguments.listen.rpartition(":")
    if host != HOST or _NUMBER.fullmatch(port) is None:
        parser.error(f"--listen must be {HOST}:PORT: there is no TLS here")
    try:
        asyncio.run(run(Chain(State(arguments.state)), int(port), arguments.mine_every_ms))
    except (StateError, OSError) as fault:
        LOG.error("%s", fault)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
