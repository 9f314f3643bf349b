"""What a published chain's nodes wrote in JSON is hashed to what those blocks commit to."""

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.formats.evm_block import bloom_of, receipts_root
from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_trie import ordered_root
from strongroom.rails.evm.wire import WireBlock, WireHeader, WireReceipt, WireTransaction
from strongroom.rails.port import RailError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/rails_evm.json").read_text())
OTHER = {"0x": "0x00", "0x0": "0x1"}


def changed(text: str) -> str:
    """Another value of the same form."""
    return OTHER.get(text) or text[:-1] + ("1" if text[-1] != "1" else "2")


@pytest.mark.parametrize("found", VECTORS["headers"], ids=lambda found: str(int(found["number"], 16)))
def test_the_fields_of_a_header_make_its_hash_and_no_other_fields_do(found: dict[str, Any]) -> None:
    header = msgspec.convert(found, WireHeader).header()
    assert "0x" + header.block_hash.hex() == found["hash"]
    assert header.base_fee == (int(found["baseFeePerGas"], 16) if "baseFeePerGas" in found else None)
    for name in found:
        with pytest.raises(RailError, match="another hash"):
            msgspec.convert({**found, name: changed(found[name])}, WireHeader).header()


def test_a_field_of_a_later_fork_is_not_left_out_unseen() -> None:
    *_, prague = VECTORS["headers"]
    with pytest.raises(RailError, match="another hash"):
        msgspec.convert({name: value for name, value in prague.items() if name != "requestsHash"}, WireHeader).header()


@pytest.mark.parametrize(
    ("name", "value"), [("logsBloom", "0x00"), ("nonce", "0x00"), ("parentHash", "0x" + "1" * 62), ("gasUsed", "0x01")]
)
def test_a_header_of_another_form_is_refused(name: str, value: str) -> None:
    found = {**VECTORS["headers"][0], name: value}
    with pytest.raises((RailError, msgspec.ValidationError)):
        msgspec.convert(found, WireHeader).header()


def test_receipts_make_the_root_and_bloom_of_their_block_in_their_order_only() -> None:
    header = msgspec.convert(VECTORS["block"], WireHeader).header()
    receipts = [each.receipt() for each in msgspec.convert(VECTORS["receipts"], list[WireReceipt])]
    logs = [log for each in receipts for log in each.logs]
    assert (len(receipts), len(logs)) == (4, 11)
    assert bloom_of(logs) == header.bloom
    good = [order for order in itertools.permutations(receipts) if receipts_root(order) == header.receipts_root]
    assert good == [tuple(receipts)]
    assert receipts_root(receipts[:-1]) != header.receipts_root


@pytest.mark.parametrize(
    "fields", [{"status": "0x2"}, {"status": "0x0"}, {"type": "0x80"}], ids=["status", "failed with logs", "kind"]
)
def test_a_receipt_that_there_can_not_be_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(RailError, match=r"a receipt (has|must)"):
        msgspec.convert({**VECTORS["receipts"][1], **fields}, WireReceipt).receipt()


def test_chain_transactions_make_the_root_of_their_block() -> None:
    block = msgspec.convert(VECTORS["block"], WireBlock)
    assert ordered_root([each.encode() for each in block.transactions]) == block.header().transactions_root


@pytest.mark.parametrize("found", VECTORS["transactions"], ids=lambda found: f"{found['type']}-{found['hash'][2:8]}")
def test_a_chain_transaction_of_every_kind_has_its_hash_and_no_changed_one_has(found: dict[str, Any]) -> None:
    assert hashed(found) == found["hash"]
    is_typed = found["type"] != "0x0"
    assert not is_typed or hashed({name: value for name, value in found.items() if name != "yParity"}) == found["hash"]
    hashed_names = {
        "0x0": ("nonce", "gasPrice", "gas", "to", "value", "input", "v", "r", "s"),
        "0x1": ("gasPrice", "chainId", "accessList", "yParity"),
        "0x2": ("maxFeePerGas", "maxPriorityFeePerGas"),
        "0x3": ("maxFeePerBlobGas", "blobVersionedHashes", "maxFeePerGas"),
        "0x4": ("authorizationList", "maxFeePerGas"),
        "0x7e": ("sourceHash", "from", "to", "mint", "value", "gas", "input"),
    }[found["type"]]
    for name in hashed_names:
        if isinstance(found.get(name), str):
            assert hashed({**found, name: changed(found[name])}) != found["hash"], name
        elif found.get(name):
            assert hashed({**found, name: found[name] * 2}) != found["hash"], name


def test_an_access_list_is_encoded() -> None:
    found = next(each for each in VECTORS["transactions"] if each["type"] == "0x1")
    assert found["accessList"]


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("0x2", {"type": "0x6a"}, "of kind 106, which isn't"), ("0x2", {"maxFeePerGas": None}, "has no max_fee"),
        ("0x0", {"v": None}, "has no v"), ("0x0", {"r": None}, "has no r"), ("0x7e", {"from": None}, "has no sender"),
    ],
)
def test_a_chain_transaction_that_can_not_be_encoded_is_refused(
    kind: str, fields: dict[str, str | None], said: str
) -> None:
    found = next(each for each in VECTORS["transactions"] if each["type"] == kind)
    with pytest.raises(RailError, match=said):
        hashed(found | fields)


def hashed(found: dict[str, Any]) -> str:
    return "0x" + keccak256(msgspec.convert(found, WireTransaction).encode()).hex()
