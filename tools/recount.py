"""Counts what the payees of a CSV got, by nothing but the chains themselves: raw blocks of a Bitcoin node, and receipts
of an EVM node. Imports nothing of Strongroom and asks none of its processes; it would count anybody's payouts.

    python tools/recount.py examples/payouts-1000.csv .sandbox/sandbox.json

The first file is what `strongroom run import` takes. The second says where the nodes are (`bitcoin.rpc_url` and
`cookie_file`, `evm.rpc_url`) and what its symbols mean (`assets`). For each row: is there exactly one payment to its
address of exactly its amount, in any block? Prints every row of which that isn't so, and exits with 1 if there is one.

It believes each node that its blocks are the chain's, and a token that its Transfer events are what moved.
"""

import argparse
import base64
import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PAYEES = ("bip122:", "eip155:")
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"  # Transfer(address,address,uint256)
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
TIMEOUT_S = 60

Place = tuple[str, str]
"""An asset by its CAIP-19 name, and who gets it: a script or an address in lower-case hex digits."""


class RecountError(Exception):
    """It can't be counted; the message says why."""


@dataclass(frozen=True)
class Row:
    number: int
    place: Place
    amount: int
    external_id: str


def ask(url: str, method: str, *parameters: object, login: str = "") -> Any:
    """JSON-RPC by plain HTTP: of one's own node. Raises: RecountError."""
    headers = {"Content-Type": "application/json"}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
    try:
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)) as node:
            node.request("POST", urlsplit(url).path or "/", body, headers)
            found = json.loads(node.getresponse().read())
    except (OSError, HTTPException, ValueError) as fault:
        raise RecountError(f"{url} doesn't answer {method}: {fault!r}") from fault
    if found.get("error"):
        raise RecountError(f"{url} refuses {method}: {found['error']}")
    return found["result"]


def script_of(address: str) -> str:
    """What an output to a segwit address has for its script (BIP-141, BIP-173). The checksum isn't looked at here."""
    _, found, data = address.rpartition("1")
    values = [BECH32.find(each) for each in data[:-6]]
    if not found or len(values) < 2 or -1 in values:
        raise RecountError(f"{address} isn't a segwit address, and no other kind is known here")
    number = 0
    for value in values[1:]:
        number = number << 5 | value
    bits = 5 * (len(values) - 1)
    program = (number >> bits % 8).to_bytes(bits // 8)
    return bytes([values[0] and values[0] + 0x50, len(program), *program]).hex()


def outputs(block: bytes) -> Iterator[tuple[str, int]]:
    """Script and amount of every output of a raw block."""
    at = 80

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return block[at - count : at]

    def number() -> int:
        first = take(1)[0]
        return first if first < 0xFD else int.from_bytes(take(2 << (first - 0xFD)), "little")

    for _ in range(number()):
        take(4)
        inputs = number()
        is_segwit = inputs == 0  # then this was the marker, a flag follows, and the count comes again
        if is_segwit:
            take(1)
            inputs = number()
        for _ in range(inputs):
            take(36)
            take(number())
            take(4)
        for _ in range(number()):
            amount = int.from_bytes(take(8), "little")
            yield take(number()).hex(), amount
        for _ in range(inputs if is_segwit else 0):
            for _ in range(number()):
                take(number())
        take(4)
    if at != len(block):
        raise RecountError("a block has bytes that nothing was read from")


def bitcoin_payments(url: str, cookie: str, asset: str) -> Iterator[tuple[Place, int]]:
    for height in range(ask(url, "getblockcount", login=cookie) + 1):
        block = ask(url, "getblock", ask(url, "getblockhash", height, login=cookie), 0, login=cookie)
        for script, amount in outputs(bytes.fromhex(block)):
            yield (asset, script), amount


def evm_payments(url: str, network: str) -> Iterator[tuple[Place, int]]:
    """Every token's transfers, to whomever."""
    for height in range(int(ask(url, "eth_blockNumber"), 16) + 1):
        for receipt in ask(url, "eth_getBlockReceipts", hex(height)):
            for log in receipt["logs"] if receipt["status"] == "0x1" else ():
                topics = log["topics"]
                if topics and topics[0] == TRANSFER and len(topics) == 3:
                    asset = f"{network}/erc20:{log['address'].lower()}"
                    yield (asset, topics[2][-40:].lower()), int(log["data"], 16)


def rows_of(file: Path, assets: Mapping[str, str]) -> list[Row]:
    found: list[Row] = []
    with file.open(newline="", encoding="utf-8-sig") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            asset = assets.get(row["asset"], row["asset"])
            if not asset.startswith(PAYEES):
                raise RecountError(f"row {number}: {row['asset']} isn't counted here")
            is_coin = asset.startswith("bip122:")
            place = (asset, script_of(row["address"])) if is_coin else (asset.lower(), row["address"][2:].lower())
            found.append(Row(number, place, int(row["amount"]), row["external_id"]))
    return found


def compare(rows: Iterable[Row], payments: Iterable[tuple[Place, int]]) -> list[str]:
    """A sentence for each row that isn't paid exactly once, and for each payment to one of the payees beyond them."""
    wanted: dict[Place, list[Row]] = defaultdict(list)
    for row in rows:
        wanted[row.place].append(row)
    got: dict[Place, Counter[int]] = defaultdict(Counter)
    for place, amount in payments:
        if place in wanted:
            got[place][amount] += 1
    faults: list[str] = []
    for place, due in wanted.items():
        left = got[place]
        unpaid = []
        for row in due:
            if left[row.amount]:
                left[row.amount] -= 1
            else:
                unpaid.append(row)
        others = sorted(left.elements())
        named = " and ".join(f"row {row.number} ({row.external_id})" for row in unpaid or due)
        if unpaid:
            instead = f"; got {', '.join(map(str, others))} instead" if others else ""
            faults.append(f"{named}: isn't paid its {', '.join(str(row.amount) for row in unpaid)}{instead}")
        elif others:
            faults.append(f"{named}: is paid, and got {', '.join(map(str, others))} besides")
    return faults


def payments_of(sandbox: Mapping[str, Any], rows: Iterable[Row]) -> Iterator[tuple[Place, int]]:
    """By the nodes of the networks that the rows name."""
    for network in sorted({row.place[0].partition("/")[0] for row in rows}):
        if network.startswith("eip155:"):
            yield from evm_payments(sandbox["evm"]["rpc_url"], network)
        else:
            cookie = Path(sandbox["bitcoin"]["cookie_file"]).read_text().strip()
            yield from bitcoin_payments(sandbox["bitcoin"]["rpc_url"], cookie, f"{network}/slip44:0")


def main() -> int:
    parser = argparse.ArgumentParser(prog="recount")
    parser.add_argument("csv", type=Path, help="what was to be paid")
    parser.add_argument("sandbox", type=Path, help="where the nodes are: sandbox.json")
    asked = parser.parse_args()
    try:
        sandbox = json.loads(asked.sandbox.read_text())
        rows = rows_of(asked.csv, sandbox["assets"])
        faults = compare(rows, payments_of(sandbox, rows))
    except (RecountError, OSError, KeyError, ValueError) as fault:
        print(f"recount: {fault!r}", file=sys.stderr)
        return 2
    for sentence in faults:
        print(sentence)
    counts = Counter(row.place[0] for row in rows)
    sums = {asset: sum(row.amount for row in rows if row.place[0] == asset) for asset in counts}
    if not faults:
        for asset, count in counts.items():
            print(f"{count} rows, {sums[asset]} of {asset}: each is paid exactly its amount, exactly once")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
