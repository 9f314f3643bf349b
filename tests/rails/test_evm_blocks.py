"""Reading the blocks of a real EVM node through a provider that lies: what a block's hash isn't of isn't believed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest
from tests.contracts.node import Node, running_node
from tests.contracts.vault import Vault, account, batch, founded
from tests.rails.lying_node import LyingNode, lying_node

from strongroom.formats.evm_block import may_hold
from strongroom.formats.hot_vault import read_transfer
from strongroom.rails.evm.blocks import Blocks
from strongroom.rails.evm.rpc import Data, Refused, Rpc
from strongroom.rails.evm.wire import WireHeader
from strongroom.rails.port import RailError

Story = Callable[[Rpc], Awaitable[None]]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture(scope="module")
def vault(node: Node) -> Vault:
    return founded(node)


@pytest.fixture
def provider(node: Node) -> Iterator[LyingNode]:
    with lying_node(node.port) as running:
        yield running


def read(provider: LyingNode, story: Story, answer_timeout_s: float = 10) -> None:
    async def go() -> None:
        rpc = Rpc(provider.url, answer_timeout_s)
        try:
            await story(rpc)
        finally:
            await rpc.close()

    asyncio.run(go())


def paid(vault: Vault, payees: int = 3) -> None:
    vault.pay(batch(vault.usdc, *((account(f"payee {index}"), index + 1) for index in range(payees))))


def test_blocks_lead_back_to_the_first_and_hold_all_that_was_logged(vault: Vault, provider: LyingNode) -> None:
    paid(vault)

    async def story(rpc: Rpc) -> None:
        blocks = Blocks(rpc)
        header = await blocks.tagged("latest")
        (receipt,) = await blocks.receipts(header)
        transfers = [moved for log in receipt.logs if (moved := read_transfer(log))]
        assert [amount for _, _, amount in transfers] == [1, 2, 3]
        assert {payer for payer, _, _ in transfers} == {bytes.fromhex(vault.address[2:])}
        assert may_hold(header.bloom, bytes.fromhex(vault.address[2:]))
        assert await blocks.at(header.number + 1) is None
        assert await blocks.named(b"\x11" * 32) is None
        assert await blocks.named(header.block_hash) == header
        while header.number:
            before = await blocks.at(header.number - 1)
            assert before is not None
            assert before.block_hash == header.parent
            assert await blocks.named(header.parent) == before
            assert len(await blocks.receipts(before)) == len(await blocks.transactions(before))
            header = before

    read(provider, story)


def forged_amount(_: list[Any], receipts: Any) -> Any:
    receipts[0]["logs"][0]["data"] = "0x" + "00" * 31 + "ff"
    return receipts


def forged_payee(_: list[Any], receipts: Any) -> Any:
    receipts[0]["logs"][0]["topics"][2] = "0x" + "00" * 12 + "ee" * 20
    return receipts


def left_out(_: list[Any], receipts: Any) -> Any:
    receipts[0]["logs"].pop()
    return receipts


def added(_: list[Any], receipts: Any) -> Any:
    receipts[0]["logs"].append(receipts[0]["logs"][0])
    return receipts


def failed(_: list[Any], receipts: Any) -> Any:
    receipts[0] |= {"status": "0x0", "logs": []}
    return receipts


def nothing(_: list[Any], receipts: Any) -> Any:
    return []


@pytest.mark.parametrize("lie", [forged_amount, forged_payee, left_out, added, failed, nothing])
def test_no_lie_about_what_a_block_logged_is_believed(
    vault: Vault, provider: LyingNode, lie: Callable[[list[Any], Any], Any]
) -> None:
    """The attacker has the provider, and wants a payment to count that wasn't made, or not to count though it was."""
    paid(vault)
    provider.lies["eth_getBlockReceipts"] = lie

    async def story(rpc: Rpc) -> None:
        blocks = Blocks(rpc)
        header = await blocks.tagged("latest")
        with pytest.raises(RailError, match="other receipts than its block commits to"):
            await blocks.receipts(header)
        provider.honest()
        assert await blocks.receipts(header)

    read(provider, story)


@pytest.mark.parametrize("field", ["receiptsRoot", "logsBloom", "parentHash", "number", "timestamp", "stateRoot"])
def test_no_header_with_a_changed_field_is_believed(provider: LyingNode, vault: Vault, field: str) -> None:
    paid(vault)

    newest = vault.node.rpc("eth_getBlockByNumber", "latest", False)
    changed = newest | {field: "0x" + "f" * (len(newest[field]) - 2)}
    provider.lies |= {"eth_getBlockByNumber": lambda *_: changed, "eth_getBlockByHash": lambda *_: changed}

    async def story(rpc: Rpc) -> None:
        blocks = Blocks(rpc)
        asks: list[Callable[[], Awaitable[object]]] = [
            lambda: blocks.tagged("latest"), lambda: blocks.at(3),
            lambda: blocks.named(bytes.fromhex(newest["hash"][2:])),
        ]
        for ask in asks:
            with pytest.raises(RailError, match="another hash"):
                await ask()

    read(provider, story)


def test_a_bloom_that_denies_what_its_block_logged_is_noticed_where_receipts_are_read(
    vault: Vault, provider: LyingNode
) -> None:
    """There are chains that leave their blooms empty: what wasn't looked for there must not count as not there."""
    paid(vault)
    newest = msgspec.convert(vault.node.rpc("eth_getBlockByNumber", "latest", False), WireHeader).header()

    async def story(rpc: Rpc) -> None:
        blocks = Blocks(rpc)
        empty = replace(newest, bloom=bytes(256))
        receipts = vault.node.rpc("eth_getBlockReceipts", "latest")
        provider.lies["eth_getBlockReceipts"] = lambda *_: receipts
        assert await blocks.receipts(newest)
        with pytest.raises(RailError, match="a bloom that isn't that of its logs"):
            await blocks.receipts(empty)

    read(provider, story)


def test_another_block_than_the_one_asked_for_is_not_believed(node: Node, vault: Vault, provider: LyingNode) -> None:
    paid(vault)
    old = node.rpc("eth_getBlockByNumber", "0x2", True)
    provider.lies |= {"eth_getBlockByNumber": lambda *_: old, "eth_getBlockByHash": lambda *_: old}

    async def story(rpc: Rpc) -> None:
        blocks = Blocks(rpc)
        with pytest.raises(RailError, match="another height"):
            await blocks.at(3)
        with pytest.raises(RailError, match="another block"):
            await blocks.named(b"1" * 32)
        provider.honest()
        header = await blocks.tagged("latest")
        provider.lies["eth_getBlockByHash"] = lambda *_: old
        with pytest.raises(RailError, match="other chain transactions"):
            await blocks.transactions(header)

    read(provider, story)


ANSWERS = {
    "nothing": b"", "no JSON": b"<html>", "a list": b"[]", "no result": b'{"jsonrpc":"2.0","id":1}',
    "null": b'{"jsonrpc":"2.0","id":1,"result":null}', "another id": b'{"jsonrpc":"2.0","id":2,"result":"0x1"}',
    "a number": b'{"jsonrpc":"2.0","id":1,"result":1}', "no prefix": b'{"jsonrpc":"2.0","id":1,"result":"11"}',
    "an odd digit": b'{"jsonrpc":"2.0","id":1,"result":"0x1"}',
    "not UTF-8": b'{"jsonrpc":"2.0","id":1,"result":"\xff"}',
    "deep": b"[" * 100_000, "a line more": b'{"jsonrpc":"2.0","id":1,"result":"0x11\\n"}',
    "no version": b'{"id":1,"result":"0x11"}',
}


@pytest.mark.parametrize("raw", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_of_another_form_is_no_answer(provider: LyingNode, raw: bytes) -> None:
    provider.raw["eth_chainId"] = raw

    async def story(rpc: Rpc) -> None:
        with pytest.raises(RailError, match="eth_chainId: "):
            await rpc.call(Data, "eth_chainId")

    read(provider, story)


def test_a_nodes_own_words_are_kept_short_and_printable(provider: LyingNode) -> None:
    said = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"' + b"\\u001b[2J" * 1_000 + b'","data":{"x":1}}}'
    provider.raw["eth_chainId"] = said

    async def story(rpc: Rpc) -> None:
        with pytest.raises(Refused) as caught:
            await rpc.call(Data, "eth_chainId")
        assert (len(caught.value.reason), caught.value.reason[:4], caught.value.data) == (200, "?[2J", b"")
        assert caught.value.reason.isprintable()

    read(provider, story)


def test_an_answer_that_is_too_long_too_late_cut_or_an_error_of_http_is_none(
    provider: LyingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(rpc: Rpc) -> None:
        blocks = Blocks(rpc)
        provider.delays.add("eth_chainId")
        with pytest.raises(RailError, match=r"no answer within 0\.5 s"):
            await rpc.ask(Data, "eth_chainId")
        provider.honest()
        provider.cuts.add("eth_chainId")
        with pytest.raises(RailError, match=r"RemoteProtocolError|ReadError"):
            await rpc.ask(Data, "eth_chainId")
        provider.honest()
        provider.status = 429
        with pytest.raises(RailError, match="answered 429"):
            await rpc.ask(Data, "eth_chainId")
        provider.honest()
        monkeypatch.setattr("strongroom.rails.evm.rpc.ANSWER_BYTES_MAXIMUM", 1_000)
        with pytest.raises(RailError, match="longer than 1000 bytes"):
            await blocks.tagged("latest")

    read(provider, story, answer_timeout_s=0.5)


@pytest.mark.parametrize(
    "url",
    ["http://node.example:8545", "ftp://127.0.0.1", "https://user:secret@node.example", "http://127.0.0.1",
     "https://", "https://[", "http://127.0.0.1:99999"],
)
def test_nothing_is_asked_in_the_clear_and_no_url_is_said(url: str) -> None:
    with pytest.raises(RailError, match="an EVM node") as caught:
        Rpc(url)
    assert "example" not in str(caught.value)


JUNK = (
    None, True, 0, -1, 1.5, "", "0x", "0x0", "0x00", "0x1", "0xffffffffffffffffffffffff", "0x" + "ff" * 32,
    "0x" + "f" * 65, "0x" + "11" * 20, "\ud800", [], [None], {}, {"x": 1}, "9" * 5_000, [[]] * 300,
)


def changed(chance: Random, value: Any) -> Any:
    """Somewhere in it something is left out, doubled, or replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {name: each for name, each in value.items() if name != key}
        return value | {key: changed(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        if chance.random() < 0.2:
            return value[:place] + value[place : place + 1] * chance.choice((0, 2)) + value[place + 1 :]
        return [*value[:place], changed(chance, value[place]), *value[place + 1 :]]
    if isinstance(value, str) and len(value) > 3 and chance.random() < 0.5:
        place = chance.randrange(2, len(value))
        return value[:place] + chance.choice("0123456789abcdefg") + value[place + 1 :]
    return chance.choice(JUNK)


@pytest.mark.parametrize("method", ["eth_getBlockByNumber", "eth_getBlockByHash", "eth_getBlockReceipts"])
def test_an_answer_with_anything_changed_is_the_truth_or_none(vault: Vault, provider: LyingNode, method: str) -> None:
    """What isn't hashed may be changed, and nothing is read from it. No other fault than RailError comes of it."""
    node = vault.node
    paid(vault)
    newest = node.rpc("eth_getBlockByNumber", "latest", False)
    true = {
        "eth_getBlockByNumber": newest, "eth_getBlockByHash": node.rpc("eth_getBlockByHash", newest["hash"], True),
        "eth_getBlockReceipts": node.rpc("eth_getBlockReceipts", newest["hash"]),
    }[method]
    outcomes: Counter[str] = Counter()

    async def story(rpc: Rpc) -> None:
        blocks = Blocks(rpc)
        header = await blocks.tagged("latest")
        ask: Callable[[], Awaitable[object]] = {
            "eth_getBlockByNumber": lambda: blocks.at(header.number),
            "eth_getBlockByHash": lambda: blocks.transactions(header),
            "eth_getBlockReceipts": lambda: blocks.receipts(header),
        }[method]
        expected = await ask()
        for seed in range(400):
            answer = changed(Random(seed), true)
            provider.lies[method] = lambda _, __, answer=answer: answer
            try:
                assert await ask() in (expected, None if answer is None else expected)
                outcomes["the same"] += 1
            except RailError:
                outcomes["refused"] += 1

    read(provider, story)
    assert outcomes["the same"] > 5
    assert outcomes["refused"] > 150


def test_a_chain_of_the_op_stack_is_read_with_its_deposits() -> None:
    """Which have no signature, and receipts with fields of their own; a real node in that mode makes them."""
    with running_node(10, "--network", "optimism") as node, lying_node(node.port) as provider:
        sender, payee = node.rpc("eth_accounts")[0], account("payee")
        deposit = {
            "type": "0x7e", "from": sender, "to": payee, "value": "0x5", "gas": "0x186a0", "input": "0x",
            "gasPrice": "0x0", "sourceHash": "0x" + "11" * 32, "mint": "0x10", "isSystemTx": False,
        }
        node.rpc("eth_sendTransaction", deposit)
        node.rpc("eth_sendTransaction", {"from": sender, "to": payee, "value": "0x1", "gasPrice": "0x0"})
        node.rpc("evm_mine")

        async def story(rpc: Rpc) -> None:
            blocks = Blocks(rpc)
            header = await blocks.tagged("latest")
            receipts = await blocks.receipts(header)
            assert {(each.kind, len(each.later)) for each in receipts} == {(0x7E, 2), (0, 0)}
            shown = node.rpc("eth_getBlockByNumber", "latest", True)["transactions"]
            deposit_hash = next(each.hash for each in await blocks.transactions(header) if each.raw[0] == 0x7E)
            assert "0x" + deposit_hash.hex() == next(each["hash"] for each in shown if each["type"] == "0x7e")
            for name in ("depositNonce", "depositReceiptVersion"):
                provider.lies["eth_getBlockReceipts"] = lambda _, true, name=name: [
                    each | {name: "0x7"} for each in true
                ]
                with pytest.raises(RailError, match="other receipts"):
                    await blocks.receipts(header)
            for name, value in (("mint", None), ("sourceHash", "0x" + "12" * 32), ("from", payee), ("value", "0x6")):
                provider.lies["eth_getBlockByHash"] = lambda _, true, name=name, value=value: true | {
                    "transactions": [each | {name: value} for each in true["transactions"]]
                }
                with pytest.raises(RailError, match="other chain transactions"):
                    await blocks.transactions(header)

        read(provider, story)
