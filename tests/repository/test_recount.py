"""The count by raw blocks finds what is missing, paid twice, or of another amount, on real nodes; and the example's CSV
is what the script beside it makes, of keys that everybody has."""

import csv
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from tests.contracts.node import DEPLOYER, Contract
from tests.contracts.node import running_node as evm_node
from tests.rails.bitcoin_node import Node as BitcoinNode
from tests.rails.bitcoin_node import running_node as bitcoin_node
from tests.repository.documents import ROOT

from strongroom.formats.evm_address import eip55

pytestmark = pytest.mark.sandbox

EXAMPLE = ROOT / "examples/payouts-1000.csv"
BITCOIN, EVM = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328", "eip155:31337"


def script(path: str) -> ModuleType:
    """One of the repository's own that is no part of a package."""
    found = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[module.__name__] = module  # where a dataclass looks for its own
    found.loader.exec_module(module)
    return module


def table() -> list[dict[str, str]]:
    with EXAMPLE.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_examples_payees_are_of_a_published_seed_and_paid_within_what_one_person_may_approve() -> None:
    made = script("examples/payouts_1000.py")
    assert EXAMPLE.read_text().splitlines() == made.rows()
    first = made.derive(made.master(made.PHRASE), (84 + made.HARD, made.HARD, made.HARD, 0, 0))
    # The first address of BIP-84's own test vector.
    assert made.public(first[0]).hex() == "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c"
    rows = table()
    assert len(rows) == len({row["address"] for row in rows}) == len({row["external_id"] for row in rows}) == 1_000
    cents = {"BTC": (15_000_000, 10**8), "USDC": (1, 10**4), "USDT": (1, 10**4)}
    worth = sum(-(-int(row["amount"]) * cents[row["asset"]][0] // cents[row["asset"]][1]) for row in rows)
    assert worth <= 1_000_000


@dataclass(frozen=True)
class Chains:
    """Both nodes, a token, and sandbox.json as far as the count reads it."""

    bitcoin: BitcoinNode
    token: Contract
    document: Path

    def pay(self, row: dict[str, str], amount: int) -> None:
        if row["asset"] == "BTC":
            self.bitcoin.fund(row["address"], amount)
        else:
            self.token.send(DEPLOYER, "transfer", row["address"], amount)


@pytest.fixture(scope="module")
def chains() -> Iterator[Chains]:
    with tempfile.TemporaryDirectory() as name, bitcoin_node(Path(name)) as bitcoin, evm_node() as evm:
        token = evm.deploy_artifact("TestUSDC")
        token.send(DEPLOYER, "mint", DEPLOYER, 10**12)
        document = Path(name) / "sandbox.json"
        document.write_text(json.dumps({
            "bitcoin": {"rpc_url": bitcoin.url, "cookie_file": str(bitcoin.cookie)},
            "evm": {"rpc_url": f"http://127.0.0.1:{evm.port}"},
            "assets": {
                "BTC": f"{BITCOIN}/slip44:0",
                "USDC": f"{EVM}/erc20:{eip55(bytes.fromhex(token.address[2:]))}",
            },
        }))
        yield Chains(bitcoin, token, document)


def recount(chains: Chains, rows: list[dict[str, str]]) -> "subprocess.CompletedProcess[str]":
    """As anybody runs it, with nothing of the project to import."""
    file = chains.document.with_name("rows.csv")
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    command = [sys.executable, "-I", "-S", str(ROOT / "tools/recount.py"), str(file), str(chains.document)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_what_is_missing_doubled_or_of_another_amount_is_found_by_its_row_and_nothing_else(chains: Chains) -> None:
    of = {asset: [row for row in table() if row["asset"] == asset] for asset in ("BTC", "USDC")}
    good = [*of["BTC"][:3], *of["USDC"][:3]]
    for row in good:
        chains.pay(row, int(row["amount"]))
    chains.bitcoin.mine()
    done = recount(chains, good)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("3 rows") == 2
    for asset in ("BTC", "USDC"):
        doubled, wrong, split, missing = of[asset][3:7]
        amount = int(split["amount"])
        for row, amounts in ((doubled, [int(doubled["amount"])] * 2), (wrong, [int(wrong["amount"]) + 1]),
                             (split, [amount - 1_000, 1_000])):
            for each in amounts:
                chains.pay(row, each)
        chains.bitcoin.mine()
        done = recount(chains, [*good, doubled, wrong, split, missing])
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stdout.splitlines() == [
            f"row 8 ({doubled['external_id']}): is paid, and got {doubled['amount']} besides",
            f"row 9 ({wrong['external_id']}): isn't paid its {wrong['amount']}; got {int(wrong['amount']) + 1} instead",
            f"row 10 ({split['external_id']}): isn't paid its {amount}; got 1000, {amount - 1_000} instead",
            f"row 11 ({missing['external_id']}): isn't paid its {missing['amount']}",
        ]


def test_what_failed_on_the_chain_or_isnt_in_a_block_paid_nobody(chains: Chains) -> None:
    waiting = next(row for row in table() if row["external_id"] == "week-48-0100")
    assert waiting["asset"] == "BTC"
    chains.pay(waiting, int(waiting["amount"]))
    assert recount(chains, [waiting]).returncode == 1
    chains.bitcoin.mine()
    assert recount(chains, [waiting]).returncode == 0


def test_the_count_knows_the_scripts_of_all_segwit_addresses() -> None:
    module = script("tools/recount.py")
    # BIP-173 and BIP-350, test vectors.
    assert module.script_of("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx") == (
        "0014751e76e8199196d454941c45d1b3a323f1433bd6")
    assert module.script_of("tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c") == (
        "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433")
    with pytest.raises(module.RecountError, match="no other kind"):
        module.script_of("2N1SP7r92ZZJvYKG2oNtzPwYnzw62up7mTo")
