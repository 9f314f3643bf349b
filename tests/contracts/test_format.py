"""Calls and events as `formats/hot_vault` writes and reads them, held against the contract itself."""

from tests.contracts.vault import (
    GUARDIAN,
    GUARDIAN_KEY,
    NEVER,
    OPERATOR,
    OWNER,
    STRANGER,
    USD,
    Vault,
    account,
    behave,
)

from strongroom.formats.hot_vault import (
    Batch,
    Executed,
    Killed,
    Log,
    Retried,
    Retry,
    VaultItem,
    encode_kill,
    read_transfer,
    read_vault_event,
)
from strongroom.formats.vault_orders import Pause, encode_pause, encode_rotate, encode_sweep, encode_unpause

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
    assert encode_unpause() == vault.contract.data("unpause")
    parties = OPERATOR, vault.address
    assert encode_rotate(*map(raw, parties)) == vault.contract.data("rotate", *parties)


def test_the_guardian_signs_what_the_contract_checks(vault: Vault) -> None:
    for epoch in range(2):
        ours = Pause(vault.node.chain_id, raw(vault.address), epoch)
        assert ours.digest == bytes(vault.contract.read("pauseDigest"))
        assert ours.signer(ours.sign(GUARDIAN_KEY)) == raw(GUARDIAN)
        sent(vault, encode_pause(ours.sign(GUARDIAN_KEY)), STRANGER)
        assert vault.paused()
        sent(vault, encode_unpause(), OWNER)


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
