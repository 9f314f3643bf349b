"""`strongroom vault`: a pause is signed offline and brought by anybody, and what the owner's Safe is given does what it
says, on a real node and by a real Safe."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data
from tests.cli.command import Done, command
from tests.contracts.node import DEPLOYER, Node, running_node
from tests.contracts.vault import (
    FUNDED,
    GUARDIAN,
    GUARDIAN_KEY,
    OWNER,
    STRANGER,
    Vault,
    address_of,
    balance,
    founded,
    key,
)
from tests.rails.lying_node import lying_node

from strongroom.cli.app import main
from strongroom.formats.evm_address import eip55
from strongroom.guardian.message import read_pause

NETWORK = "eip155:31337"
PAYER = key("who brings it")


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture
def vault(node: Node) -> Vault:
    node.rpc("anvil_setBalance", address_of(PAYER), hex(10**18))
    return founded(node)


@pytest.fixture
def place(vault: Vault) -> str:
    return eip55(raw(vault.address))


def written(file: Path, private: PrivateKey) -> str:
    file.write_text(private.secret.hex())
    return str(file)


def url(vault: Vault) -> str:
    return f"http://127.0.0.1:{vault.node.port}"


def mining(vault: Vault, *arguments: str) -> Done:
    """The command, with a block for what it sends."""
    vault.node.rpc("evm_setIntervalMining", 1)
    try:
        return command(*arguments)
    finally:
        vault.node.rpc("evm_setIntervalMining", 0)


def test_a_pause_is_signed_offline_and_brought_by_anybody(vault: Vault, place: str, tmp_path: Path) -> None:
    guardian, payer, out = written(tmp_path / "guardian", GUARDIAN_KEY), written(tmp_path / "payer", PAYER), (
        tmp_path / "pause.json"
    )
    made = command("vault", "pause", place, "--network", NETWORK, "--epoch", "0", "--key", guardian, "--out", str(out))
    assert (made.code, made.out) == (0, ""), made.err
    assert eip55(raw(GUARDIAN)) in made.err
    brought = mining(vault, "vault", "relay", str(out), "--rpc", url(vault), "--payer", payer, "--json")
    assert brought.code == 0, brought.err
    assert len(brought.json()["chain_transactions"]) == 1
    assert vault.paused()
    again = command("vault", "relay", str(out), "--rpc", url(vault), "--payer", payer, "--json")
    assert (again.code, again.json()["chain_transactions"]) == (0, [])
    vault.contract.send(OWNER, "unpause")
    late = command("vault", "relay", str(out), "--rpc", url(vault), "--payer", payer)
    assert late.code == 5
    assert "the vault's epoch is 1, and the message is for 0" in late.err
    assert not vault.paused()


def test_a_wallet_signs_it_and_a_node_says_the_epoch(vault: Vault, place: str, tmp_path: Path) -> None:
    vault.contract.send(OWNER, "pause")
    vault.contract.send(OWNER, "unpause")
    asked = ("vault", "pause", place, "--network", NETWORK, "--rpc", url(vault))
    typed = command(*asked)
    assert typed.json()["message"] == {"epoch": "1"}, typed.err
    signature = Account.sign_message(encode_typed_data(full_message=typed.json()), GUARDIAN_KEY.secret).signature
    made = command(*asked, "--signature", "0x" + bytes(signature).hex())
    assert made.code == 0, made.err
    vault.contract.send_data(STRANGER, read_pause(made.out.encode()).data)
    assert vault.paused()


def test_a_node_that_says_that_all_is_done_is_not_believed_alone(vault: Vault, place: str, tmp_path: Path) -> None:
    guardian, payer = written(tmp_path / "guardian", GUARDIAN_KEY), written(tmp_path / "payer", PAYER)
    made = command("vault", "pause", place, "--network", NETWORK, "--epoch", "0", "--key", guardian)
    (tmp_path / "pause.json").write_text(made.out)
    with lying_node(vault.node.port) as liar:
        words = iter(["0x" + "00" * 32, "0x" + f"{1:064x}", "0x" + raw(GUARDIAN).rjust(32, b"\0").hex()] * 100)
        liar.lies["eth_call"] = lambda *_: next(words)
        urls = ("--rpc", liar.url, "--rpc", url(vault))
        brought = mining(vault, "vault", "relay", str(tmp_path / "pause.json"), *urls, "--payer", payer)
    assert brought.code == 0, brought.err
    assert vault.paused()


@pytest.mark.parametrize("act", ["sweep", "unpause", "rotate"])
def test_what_the_safe_is_given_does_what_it_says(vault: Vault, place: str, tmp_path: Path, act: str) -> None:
    """Its calls, as the owner sends them; a real Safe sends them in tests/contracts/test_safe.py."""
    tokens = [eip55(raw(each.address)) for each in (vault.usdc, vault.usdt)]
    parties = [eip55(raw(address_of(key(name)))) for name in ("next operator", "next guardian")]
    more = {
        "sweep": ("--token", tokens[0], "--token", tokens[1], "--keep", "5"), "unpause": (),
        "rotate": ("--operator", parties[0], "--guardian", parties[1]),
    }[act]
    vault.contract.send(OWNER, "pause")
    out = tmp_path / "safe.json"
    made = command("vault", "owner", act, place, "--network", NETWORK, *more, "--out", str(out))
    assert made.code == 0, made.err
    document = json.loads(out.read_text())
    assert (document["version"], document["chainId"]) == ("1.0", "31337")
    for each in document["transactions"]:
        assert (each["to"], each["value"]) == (place, "0")
        vault.contract.send_data(OWNER, raw(each["data"]))
    if act == "sweep":
        assert [balance(each, OWNER) for each in (vault.usdc, vault.usdt)] == [FUNDED - 5] * 2
        for each in (vault.usdc, vault.usdt):
            each.send(DEPLOYER, "mint", vault.address, FUNDED)
    elif act == "unpause":
        assert not vault.paused()
    else:
        found = [eip55(raw(vault.contract.read(name))) for name in ("operator", "guardian")]
        assert found == parties


def test_a_key_is_made_for_its_owner_alone_and_never_over_another(tmp_path: Path) -> None:
    made = command("vault", "key", str(tmp_path / "key"))
    assert made.code == 0, made.err
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    private = PrivateKey.from_hex((tmp_path / "key").read_text().strip())
    assert made.out.strip() == eip55(raw(address_of(private)))
    assert command("vault", "key", str(tmp_path / "key")).code == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pause", "0x12", "--network", NETWORK, "--epoch", "0"), "VAULT"),
        (("pause", "{}", "--network", "sim:sandbox", "--epoch", "0"), "isn't an EVM network"),
        (("pause", "{}", "--network", NETWORK), "--epoch"),
        (("pause", "{}", "--network", NETWORK, "--epoch", str(2**64)), "--epoch"),
        (("pause", "{}", "--network", NETWORK, "--epoch", "0", "--key", "/nowhere"), "--key"),
        (("pause", "{}", "--network", NETWORK, "--epoch", "0", "--signature", "0x12"), "--signature"),
        (("pause", "{}", "--network", "eip155:1", "--rpc", "{url}"), "chain 31337"),
        (("pause", "{}", "--network", NETWORK, "--rpc", "http://node.example"), "--rpc"),
        (("relay", "/nowhere", "--rpc", "{url}", "--payer", "/nowhere"), "/nowhere"),
        (("owner", "sweep", "{}", "--network", NETWORK, "--token", "0x12"), "--token"),
        (("owner", "rotate", "{}", "--network", NETWORK, "--operator", "{}", "--guardian", "{}"), "--guardian"),
    ],
)
def test_wrong_use_is_said_by_its_name(
    vault: Vault, place: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code = main(["vault", *(each.replace("{}", place).replace("{url}", url(vault)) for each in arguments)])
    complaint = capsys.readouterr().err
    assert code in (1, 2, 3, 4, 5)
    assert said in complaint
    assert "a fault of ours" not in complaint
