"""Calls and events as `formats/hot_vault` writes and reads them, held against the contract itself."""

import pytest
from tests.contracts.vault import NEVER, OPERATOR, OWNER, USD, Vault, account, behave

from strongroom.formats.hot_vault import (
    AMOUNT_MAXIMUM,
    ITEMS_MAXIMUM,
    Batch,
    Executed,
    HotVaultError,
    Killed,
    Log,
    Retried,
    Retry,
    VaultItem,
    encode_kill,
    encode_sweep,
    pause_digest,
    read_transfer,
    read_vault_event,
)

SALT = bytes(range(32))


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def a_batch(vault: Vault, token: str, *items: tuple[str, int], salt: bytes = SALT) -> Batch:
    paid = tuple(VaultItem(raw(payee), amount) for payee, amount in items)
    return Batch(vault.node.chain_id, raw(vault.address), raw(token), salt, paid)


def sent(vault: Vault, call: bytes, sender: str = OPERATOR) -> list[Log]:
    found = vault.contract.send_data(sender, call).raw_logs
    return [
        Log(raw(str(log["address"])), tuple(map(raw, log["topics"])), raw(str(log["data"]))) for log in found
    ]


def test_a_batch_is_called_and_named_as_the_contract_says(vault: Vault) -> None:
    batch = a_batch(vault, vault.usdc.address, (account("ada"), 5 * USD), (account("ben"), 7 * USD))
    words = [raw(account("ada")) + (5 * USD).to_bytes(12), raw(account("ben")) + (7 * USD).to_bytes(12)]
    assert batch.name == bytes(vault.contract.read("batchId", vault.usdc.address, SALT, words))
    other = SALT[::-1]
    theirs = vault.contract.data("pay", batch.name, [other], [(other, 3)], vault.usdc.address, SALT, NEVER, words)
    assert batch.pay([other], [Retry(other, 3)], NEVER) == theirs
    assert encode_kill([SALT, other]) == vault.contract.data("kill", [SALT, other])
    assert encode_sweep(raw(vault.usdc.address), 9) == vault.contract.data("sweep", vault.usdc.address, 9)


def test_the_guardian_signs_what_the_contract_checks(vault: Vault) -> None:
    for epoch in range(2):
        ours = pause_digest(vault.node.chain_id, raw(vault.address), epoch)
        assert ours == bytes(vault.contract.read("pauseDigest"))
        vault.contract.send(OWNER, "pause")
        vault.contract.send(OWNER, "unpause")


def test_what_was_paid_skipped_killed_and_taken_over_is_read_from_the_logs(vault: Vault) -> None:
    vault.list(vault.hostile)
    bad = account("bad")
    behave(vault, bad, "ReturnsFalse")
    token = vault.hostile.address
    first = a_batch(vault, token, (account("ada"), 5), (bad, 7), (account("ben"), 9))
    logs = sent(vault, first.pay([SALT], [], NEVER))
    events = [event for event in map(read_vault_event, logs) if event is not None]
    assert events == [Killed(SALT), Executed(first.name, raw(token), 14, frozenset({1}))]
    moved = [read_transfer(log) for log in logs if log.address == raw(token)]
    assert moved == [(raw(vault.address), raw(account(name)), amount) for name, amount in (("ada", 5), ("ben", 9))]
    again = a_batch(vault, token, (account("cy"), 7))
    logs = sent(vault, again.pay([], [Retry(first.name, 1)], NEVER))
    events = [event for event in map(read_vault_event, logs) if event is not None]
    assert events == [Retried(first.name, 1, again.name), Executed(again.name, raw(token), 7, frozenset())]


@pytest.mark.parametrize(
    ("chain", "vault_length", "salt", "items", "reason"),
    [
        (0, 20, SALT, ((20, 1),), "must name a chain"),
        (1, 19, SALT, ((20, 1),), "must name a chain"),
        (1, 20, b"", ((20, 1),), "must name a chain"),
        (1, 20, SALT, (), "1 to 248 items"),
        (1, 20, SALT, ((20, 1),) * (ITEMS_MAXIMUM + 1), "1 to 248 items"),
        (1, 20, SALT, ((19, 1),), "must pay addresses"),
        (1, 20, SALT, ((20, 0),), "must pay addresses"),
        (1, 20, SALT, ((20, AMOUNT_MAXIMUM + 1),), "must pay addresses"),
    ],
)
def test_a_batch_that_the_vault_would_not_take_is_never_made(
    chain: int, vault_length: int, salt: bytes, items: tuple[tuple[int, int], ...], reason: str
) -> None:
    paid = tuple(VaultItem(bytes(length), amount) for length, amount in items)
    with pytest.raises(HotVaultError, match=reason):
        Batch(chain, bytes(vault_length), bytes(20), salt, paid)


def test_events_of_another_form_are_refused_and_others_are_none(vault: Vault) -> None:
    batch = a_batch(vault, vault.usdc.address, (account("ada"), 5 * USD))
    logs = sent(vault, batch.pay([], [], NEVER))
    executed = next(log for log in logs if isinstance(read_vault_event(log), Executed))
    transfer = next(log for log in logs if read_transfer(log) is not None)
    for good, read in ((executed, read_vault_event), (transfer, read_transfer)):
        for topics, data in (
            (good.topics[:-1], good.data), ((*good.topics, SALT), good.data), (good.topics, good.data + b"\0"),
            (good.topics, good.data[:-32]), ((*good.topics[:-1], b""), good.data),
        ):
            with pytest.raises(HotVaultError):
                read(Log(good.address, topics, data))
    with pytest.raises(HotVaultError, match="that there can't be"):
        read_vault_event(Log(executed.address, executed.topics, executed.data[:32] + b"\xff" * 32))
    assert read_vault_event(transfer) is None
    assert read_transfer(executed) is None
    assert read_vault_event(Log(b"", (), b"")) is read_transfer(Log(b"", (), b"")) is None
