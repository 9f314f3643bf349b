"""The guardian pauses while guard has an alarm of stolen money, and at no other time; whoever holds up one road of its
doesn't hold up the others, and what it signed anybody can bring."""

from tests.contracts.node import running_node
from tests.contracts.vault import GUARDIAN, MAXIMUM, OWNER, STRANGER, THIEF, account, batch, founded
from tests.guard.process import eventually
from tests.guardian.post import ALARM, Post
from tests.rails.lying_node import lying_node

from strongroom.formats.vault_orders import Pause
from strongroom.guardian.message import read_pause

GWEI = 10**9


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def test_a_vault_is_paused_when_guard_has_an_alarm_of_stolen_money_and_not_before(post: Post) -> None:
    """And again in every epoch, as long as the alarm stands; once it was resolved, never."""
    post.guard.alarms = ["deficit.eip155:31337", "unpaused.1"]
    with post.stand() as guardian:
        post.guard.has_been_asked()
        assert not post.is_paused()
        assert not post.waiting()
        post.guard.alarms.append(ALARM)
        assert eventually(post.is_paused), guardian.log
        post.vault.contract.send(OWNER, "unpause")
        assert eventually(post.is_paused), guardian.log
        post.guard.alarms = []
        post.guard.has_been_asked()
        post.vault.contract.send(OWNER, "unpause")
        post.guard.has_been_asked()
        assert not post.is_paused()
        assert not post.waiting()
        post.vault.pay(batch(post.vault.usdc, (account("payee"), MAXIMUM)))
        assert guardian.stop() == 0
    assert "ALARM: unknown-spend." in guardian.log
    kept = [read_pause(each.read_bytes()).pause for each in sorted(post.pauses.iterdir())]
    assert kept == [Pause(31337, raw(post.vault.address), epoch) for epoch in (0, 1)]


def test_two_vaults_are_paused_by_one_account(post: Post) -> None:
    """With nonces in a row; what no block takes is offered again for more, at the same ones."""
    other = founded(post.vault.node)
    post.guard.others = {"eip155:31337": other.address, "eip155:1": other.address, "eip155:2": "no address"}
    post.guard.alarms = [ALARM]
    with post.stand() as guardian:
        assert eventually(lambda: len(post.waiting()) == 2), guardian.log
        assert eventually(lambda: all(int(each["maxPriorityFeePerGas"], 16) > 2 * GWEI for each in post.waiting()))
        assert [int(each["nonce"], 16) for each in post.waiting()] == [0, 1]
        assert eventually(lambda: post.is_paused() and other.paused()), guardian.log
        assert "no node of eip155:1 is configured" in guardian.log


def test_a_node_that_swallows_what_it_gets_holds_up_no_other(post: Post) -> None:
    """The thief has one of two providers. It takes the pause and passes it on to nobody, or never answers at all."""
    with lying_node(post.vault.node.port) as mute, lying_node(post.vault.node.port) as deaf:
        mute.delays.add("eth_chainId")
        deaf.swallows.add("eth_sendRawTransaction")
        with lying_node(post.vault.node.port) as honest:
            post.guard.alarms = [ALARM]
            urls = [mute.url, deaf.url, honest.url]
            with post.stand(nodes={"eip155:31337": urls}) as guardian:
                assert eventually(post.is_paused), guardian.log
            assert "isn't paused by one node: eth_sendRawTransaction" in guardian.log
            assert "eth_sendRawTransaction" in honest.asked
            assert "eth_sendRawTransaction" not in mute.asked


def test_a_node_that_says_that_all_is_well_holds_up_no_other(post: Post) -> None:
    paused = "0x" + f"{1:064x}"
    with lying_node(post.vault.node.port) as liar, lying_node(post.vault.node.port) as honest:
        liar.lies["eth_call"] = lambda _, __: paused
        post.guard.alarms = [ALARM]
        with post.stand(nodes={"eip155:31337": [liar.url, honest.url]}) as guardian:
            assert eventually(post.is_paused), guardian.log
        assert "eth_sendRawTransaction" not in liar.asked


def test_without_ether_the_pause_is_there_for_anybody_to_bring(post: Post) -> None:
    post.vault.node.rpc("anvil_setBalance", GUARDIAN, "0x0")
    post.guard.alarms = [ALARM]
    with post.stand() as guardian:
        assert eventually(lambda: "the node doesn't take it" in guardian.log), guardian.log
    assert not post.is_paused()
    (file,) = post.pauses.iterdir()
    assert str(file) in guardian.log
    signed = read_pause(file.read_bytes())
    assert signed.guardian == raw(GUARDIAN)
    post.vault.contract.send_data(STRANGER, signed.data)
    assert post.vault.paused()


def test_a_vault_of_another_guardian_or_chain_gets_nothing(post: Post) -> None:
    post.vault.contract.send(OWNER, "rotate", THIEF, STRANGER)
    post.guard.alarms = [ALARM]
    with post.stand() as guardian:
        assert eventually(lambda: "its guardian is" in guardian.log), guardian.log
    with running_node(chain_id=7) as other:
        elsewhere = founded(other)
        post.guard.vaults = {"eip155:31337": elsewhere.address}
        with post.stand(nodes={"eip155:31337": [f"http://127.0.0.1:{other.port}"]}) as guardian:
            assert eventually(lambda: "the node is of chain 7" in guardian.log), guardian.log
        assert not elsewhere.paused()
    assert not list(post.pauses.iterdir())


def test_what_guard_said_last_stands_while_it_cant_be_asked(post: Post) -> None:
    """The thief brings guard down, and has the vault unpaused: it is paused again."""
    post.guard.alarms = [ALARM]
    with post.stand() as guardian:
        assert eventually(post.is_paused), guardian.log
        post.guard.is_gone = True
        assert eventually(lambda: "guard can't be asked" in guardian.log), guardian.log
        post.vault.contract.send(OWNER, "unpause")
        assert eventually(post.is_paused), guardian.log


def test_no_more_is_paid_for_gas_than_was_said(post: Post) -> None:
    with lying_node(post.vault.node.port) as dear:
        dear.lies["eth_getBlockByNumber"] = lambda _, block: {**block, "baseFeePerGas": hex(40 * GWEI)}
        post.guard.alarms = [ALARM]
        with post.stand(nodes={"eip155:31337": [dear.url]}, fee_maximum_gwei=20) as guardian:
            assert eventually(lambda: "the most that may be paid is too little" in guardian.log), guardian.log
            assert not post.waiting()


def test_a_configuration_that_cant_be_used_ends_it_with_the_fields_name(post: Post) -> None:
    guardian = post.stand(guard_ca_file="/nowhere")
    assert guardian.wait() == 1
    assert "guard_ca_file" in guardian.log
    assert "Traceback" not in guardian.log
