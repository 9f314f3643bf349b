"""How often, for how much, and at which nonce a pause is brought; and what no vault answers."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from tests.contracts.node import keccak
from tests.contracts.vault import GUARDIAN, GUARDIAN_KEY, Vault
from tests.rails.lying_node import LyingNode, lying_node

from strongroom.formats.evm_transaction import parse_signed
from strongroom.formats.vault_orders import Pause
from strongroom.guardian.message import SignedPause, sign_pause
from strongroom.guardian.relay import QUICK_TRIES, TRIES_MAXIMUM, Bringer, Standing, ask_vault
from strongroom.rails.evm.fees import Fees, replaces
from strongroom.rails.evm.rpc import Rpc
from strongroom.rails.port import RailError

STUCK_S = 10
GWEI = 10**9


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def by(node: LyingNode, story: Callable[[Rpc], Awaitable[None]]) -> None:
    async def go() -> None:
        rpc = Rpc(node.url)
        try:
            await story(rpc)
        finally:
            await rpc.close()

    asyncio.run(go())


def signed_for(vault: Vault) -> SignedPause:
    return sign_pause(GUARDIAN_KEY, Pause(31337, raw(vault.address), vault.epoch()))


def offered(node: LyingNode, sent: list[Fees]) -> None:
    """Keeps what is sent, and passes nothing on."""

    def keep(parameters: list[Any], _: Any) -> str:
        made, _signature = parse_signed(raw(parameters[0]))
        sent.append(Fees(made.max_fee, made.max_priority_fee))
        return "0x" + keccak(raw(parameters[0])).hex()

    node.lies["eth_sendRawTransaction"] = keep


def test_a_node_that_forgets_all_it_takes_gets_no_more_than_so_many(vault: Vault) -> None:
    """It wants the guardian's ether: each that it keeps back it could bring to the chain another day. They are at one
    nonce, and so one of them at most."""
    now, sent = [0.0], list[Fees]()
    with lying_node(vault.node.port) as liar:
        offered(liar, sent)

        async def story(rpc: Rpc) -> None:
            bringer, signed = Bringer(rpc, GUARDIAN_KEY, 10_000 * GWEI, STUCK_S, lambda: now[0]), signed_for(vault)
            took: list[float] = []
            while len(sent) < TRIES_MAXIMUM:
                began = now[0]
                while await bringer.bring(signed) is None:
                    now[0] += STUCK_S
                took.append(now[0] - began)
            now[0] += 1_000 * STUCK_S
            with pytest.raises(RailError, match=f"sent {TRIES_MAXIMUM} times"):
                await bringer.bring(signed)
            assert took[: QUICK_TRIES + 2] == [0, *[STUCK_S] * (QUICK_TRIES + 1)]
            assert took == sorted(took)
            assert sum(took) > 3_600

        by(liar, story)
    assert all(replaces(before, after) for before, after in pairwise(sent))


def test_what_cant_be_paid_for_under_the_maximum_isnt_sent_for_more(vault: Vault) -> None:
    now, sent = [0.0], list[Fees]()
    with lying_node(vault.node.port) as liar:
        offered(liar, sent)

        async def story(rpc: Rpc) -> None:
            bringer, signed = Bringer(rpc, GUARDIAN_KEY, 3 * GWEI, STUCK_S, lambda: now[0]), signed_for(vault)

            async def bring_often() -> None:
                for _ in range(TRIES_MAXIMUM - 1):
                    await bringer.bring(signed)
                    now[0] += STUCK_S

            with pytest.raises(RailError, match="the most that may be paid is too little"):
                await bring_often()

        by(liar, story)
    assert sent
    assert all(each.most <= 3 * GWEI for each in sent)


@pytest.mark.parametrize("tip", [None, 30 * GWEI])
def test_who_makes_the_block_gets_what_the_node_names_if_it_names_something(vault: Vault, tip: int | None) -> None:
    sent = list[Fees]()
    with lying_node(vault.node.port) as node:
        offered(node, sent)
        if tip is None:
            node.swallows.add("eth_maxPriorityFeePerGas")
        else:
            node.lies["eth_maxPriorityFeePerGas"] = lambda *_: hex(tip)

        async def story(rpc: Rpc) -> None:
            await Bringer(rpc, GUARDIAN_KEY, 100 * GWEI, STUCK_S).bring(signed_for(vault))

        by(node, story)
    assert [each.priority for each in sent] == [tip or 2 * GWEI]


def test_a_vault_says_how_it_stands_and_what_is_none_says_nothing(vault: Vault) -> None:
    with lying_node(vault.node.port) as node:

        async def story(rpc: Rpc) -> None:
            assert await ask_vault(rpc, raw(vault.address)) == Standing(31337, 0, False, raw(GUARDIAN))
            for other in (vault.usdc.address, "0x" + "12" * 20):
                with pytest.raises(RailError):
                    await ask_vault(rpc, raw(other))
            node.lies["eth_call"] = lambda *_: "0x" + "ff" * 32
            with pytest.raises(RailError, match="isn't a vault"):
                await ask_vault(rpc, raw(vault.address))

        by(node, story)
