"""`vault …`: what people tell a hot vault on an EVM chain beside the signer: the guardian's pause, and what its owner
does, as files for the Safe whose people sign it.

A pause is signed where the guardian's key is, which needs no network, and brought from anywhere by anybody.
"""

import asyncio
import json
import secrets
import time
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from coincurve import PrivateKey
from cyclopts import Parameter, validators

from strongroom.cli.files import write_new
from strongroom.cli.output import Exit, Stop, fields, say, show
from strongroom.cli.session import Json
from strongroom.formats.address_error import AddressError
from strongroom.formats.evm_address import EVM_NETWORK, eip55, parse_evm_address
from strongroom.formats.evm_transaction import address_of
from strongroom.formats.vault_orders import EPOCH_MAXIMUM, Pause, encode_rotate, encode_sweep, encode_unpause
from strongroom.guardian.config import GWEI, ConfigError, read_key
from strongroom.guardian.message import MessageError, SignedPause, read_pause, sign_pause, take_signature
from strongroom.guardian.relay import Bringer, ask_vault
from strongroom.rails.evm.rpc import Rpc
from strongroom.rails.port import RailError

MINED_TIMEOUT_S: Final = 180
POLL_S: Final = 0.5
STUCK_S: Final = 12

app = cyclopts.App(name="vault", help="Hot vaults on EVM chains: pause one; files for what its owner does.")
owner = cyclopts.App(name="owner", help="Files for the Safe that owns a vault: its people sign and send them.")
app.command(owner)

Vault = Annotated[str, Parameter(help="The vault's address, as the policy names it")]
Network = Annotated[str, Parameter("--network", help="Its chain, such as eip155:1")]
Out = Annotated[Path | None, Parameter("--out", help="A new file to write to; else it is printed")]
Urls = Annotated[
    list[str], Parameter("--rpc", negative="", help="A node or provider: https, or http on this machine. Several")
]


@app.command
def key(file: Annotated[Path, Parameter(help="A new file")], /, *, as_json: Json = False) -> int:
    """Make a key for a guardian, or for an account that pays for gas; print its address.

    Only its owner may read the file. Keep a copy where the machine isn't.
    """
    made = secrets.token_hex(32)
    write_new(file, made + "\n", mode=0o600)
    address = eip55(_address(PrivateKey.from_hex(made)))
    show({"address": address, "file": str(file)}, as_json, address)
    return Exit.DONE


@app.command
def pause(
    vault: Vault,
    /,
    *,
    network: Network,
    epoch: Annotated[
        int | None,
        Parameter("--epoch", help="The vault's; without, --rpc is asked", validator=validators.Number(gte=0)),
    ] = None,
    rpc: Urls | None = None,
    key: Annotated[Path | None, Parameter("--key", help="The guardian's key, a file")] = None,
    signature: Annotated[
        str | None, Parameter("--signature", help="In its place: what the guardian's wallet signed")
    ] = None,
    out: Out = None,
) -> int:
    """Sign the guardian's pause of a vault: a message that anybody may bring (relay).

    With --epoch nothing is asked of any node. Without --key and --signature it
    prints what a wallet is to sign (eth_signTypedData_v4).
    """
    place = _address_of("VAULT", vault, network)
    if epoch is None:
        if not rpc:
            raise Stop(Exit.USAGE, "--epoch: give the vault's epoch, or a node that is asked for it: --rpc")
        epoch = asyncio.run(_epoch(rpc[0], network, place))
    if epoch > EPOCH_MAXIMUM:
        raise Stop(Exit.USAGE, f"--epoch: must be from 0 to {EPOCH_MAXIMUM}")
    wanted = Pause(_chain_id(network), place, epoch)
    try:
        if key is not None:
            made = sign_pause(read_key(key), wanted)
        elif signature is not None:
            made = take_signature(wanted, signature)
        else:
            show(wanted.typed_data(), True, "")
            return Exit.DONE
    except (ConfigError, MessageError) as fault:
        raise Stop(Exit.FAILED, f"--{fault}" if key is None else f"--key: {fault}") from fault
    say(f"a pause of {vault} in epoch {epoch}, signed by {eip55(made.guardian)}")
    _put(made.write(), out)
    return Exit.DONE


@app.command
def relay(
    message: Annotated[Path, Parameter(help="The signed pause, a file")],
    /,
    *,
    rpc: Urls,
    payer: Annotated[Path, Parameter("--payer", help="The key of an account with ether for the gas, a file")],
    fee_maximum_gwei: Annotated[
        int, Parameter("--fee-maximum-gwei", help="For a unit of gas", validator=validators.Number(gte=1))
    ] = 500,
    as_json: Json = False,
) -> int:
    """Bring a signed pause to its vault, by every node that is named.

    Waits until all that answer say that the vault is paused.
    """
    try:
        signed = read_pause(message.read_bytes())
        account = read_key(payer)
    except OSError as fault:
        raise Stop(Exit.NOT_FOUND, f"{message}: {fault.strerror}") from fault
    except MessageError as fault:
        raise Stop(Exit.FAILED, f"{message}: {fault}") from fault
    except ConfigError as fault:
        raise Stop(Exit.FAILED, f"--payer: {fault}") from fault
    say(f"to be paused: {eip55(signed.pause.vault)} of eip155:{signed.pause.chain_id}, epoch {signed.pause.epoch}")
    taken = asyncio.run(_relay(signed, account, rpc, fee_maximum_gwei * GWEI))
    value = {"chain_transactions": taken, "is_paused": True, "vault": eip55(signed.pause.vault)}
    show(value, as_json, fields([("paused", value["vault"]), *(("chain transaction", each) for each in taken)]))
    return Exit.DONE


@owner.command
def sweep(
    vault: Vault,
    /,
    *,
    network: Network,
    token: Annotated[list[str], Parameter("--token", negative="", help="The contract of a token; several")],
    keep: Annotated[
        int, Parameter("--keep", help="Base units of each that stay", validator=validators.Number(gte=0))
    ] = 0,
    out: Out = None,
) -> int:
    """Make the file by which the Safe takes a vault's tokens, to itself and to nowhere else. Works while paused."""
    place = _address_of("VAULT", vault, network)
    calls = [encode_sweep(_address_of("--token", each, network), keep) for each in token]
    return _for_safe(network, place, "sweep to the owner", calls, out)


@owner.command
def unpause(vault: Vault, /, *, network: Network, out: Out = None) -> int:
    """Make the file by which the Safe lets a paused vault pay again.

    Resolve the alarm at guard before: while it stands, the guardian pauses again.
    """
    return _for_safe(network, _address_of("VAULT", vault, network), "unpause", [encode_unpause()], out)


@owner.command
def rotate(
    vault: Vault,
    /,
    *,
    network: Network,
    operator: Annotated[str, Parameter("--operator", help="The signer's account: strongroom wallet address")],
    guardian: Annotated[str, Parameter("--guardian", help="The guardian's account: strongroom vault key")],
    out: Out = None,
) -> int:
    """Make the file by which the Safe gives a vault another operator, or another guardian. Name both."""
    place = _address_of("VAULT", vault, network)
    parties = _address_of("--operator", operator, network), _address_of("--guardian", guardian, network)
    if parties[0] == parties[1]:
        raise Stop(Exit.USAGE, "--guardian: must be another account than the operator's")
    return _for_safe(network, place, "rotate operator and guardian", [encode_rotate(*parties)], out)


def _for_safe(network: str, vault: bytes, what: str, calls: list[bytes], out: Path | None) -> int:
    """As the Safe's transaction builder reads it. Raises: Stop."""
    to = eip55(vault)
    document = {
        "chainId": str(_chain_id(network)), "createdAt": time.time_ns() // 1_000_000,
        "meta": {"description": f"{what}: the hot vault {to}", "name": f"Strongroom: {what}"},
        "transactions": [
            {"contractInputsValues": None, "contractMethod": None, "data": "0x" + each.hex(), "to": to, "value": "0"}
            for each in calls
        ],
        "version": "1.0",
    }
    say(f"{what}: {len(calls)} calls of {to}; the Safe's people import the file in its transaction builder, and sign")
    _put(json.dumps(document, indent=1) + "\n", out)
    return Exit.DONE


def _put(text: str, out: Path | None) -> None:
    """Raises: Stop."""
    if out is None:
        print(text, end="")
    else:
        write_new(out, text)


def _address_of(name: str, text: str, network: str) -> bytes:
    """Raises: Stop."""
    try:
        return parse_evm_address(text, network)
    except AddressError as fault:
        raise Stop(Exit.USAGE, f"{name}: {text}: {fault}") from fault


def _chain_id(network: str) -> int:
    """Of one that `parse_evm_address` has taken. Raises: Stop."""
    if EVM_NETWORK.fullmatch(network) is None:
        raise Stop(Exit.USAGE, f"--network: {network} isn't an EVM network, such as eip155:1")
    return int(network.removeprefix("eip155:"))


def _address(private: PrivateKey) -> bytes:
    return address_of(private.public_key.format(compressed=False))


async def _epoch(url: str, network: str, vault: bytes) -> int:
    """Raises: Stop."""
    rpc: Rpc | None = None
    try:
        rpc = Rpc(url)
        standing = await ask_vault(rpc, vault)
    except RailError as fault:
        raise Stop(Exit.UNREACHABLE, f"--rpc: the node doesn't say the vault's epoch: {fault}") from fault
    finally:
        if rpc is not None:
            await rpc.close()
    if standing.chain_id != _chain_id(network):
        raise Stop(Exit.REFUSED, f"--rpc: the node is of chain {standing.chain_id}, and not of {network}")
    return standing.epoch


async def _relay(signed: SignedPause, payer: PrivateKey, urls: list[str], fee_maximum: int) -> list[str]:
    """What was taken, once all nodes that answer say that it is paused: one alone may lie. Raises: Stop."""
    try:
        bringers = [(rpc, Bringer(rpc, payer, fee_maximum, STUCK_S)) for rpc in map(Rpc, urls)]
    except RailError as fault:
        raise Stop(Exit.USAGE, f"--rpc: {fault}") from fault
    taken: list[str] = []
    faults: dict[int, str] = {}

    async def by(number: int, rpc: Rpc, bringer: Bringer) -> bool | None:
        """Whether it says that it is paused; None if it says nothing of use."""
        try:
            if await _is_paused(rpc, signed):
                return True
            hashed = await bringer.bring(signed)
        except RailError as fault:
            if faults.get(number) != str(fault):
                say(f"node {number}: {fault}")
            faults[number] = str(fault)
            return None
        taken.extend([] if hashed is None else [hashed])
        return False

    ends = time.monotonic() + MINED_TIMEOUT_S
    try:
        while time.monotonic() < ends:
            said = await asyncio.gather(*(by(place, *each) for place, each in enumerate(bringers, start=1)))
            if True in said and False not in said:
                return taken
            if not taken and said.count(None) == len(said):
                raise Stop(Exit.UNREACHABLE, "no node took it")
            await asyncio.sleep(POLL_S)
    finally:
        for rpc, _ in bringers:
            await rpc.close()
    sent = ", ".join(taken) or "nothing"
    raise Stop(Exit.WAITS, f"not all nodes say within {MINED_TIMEOUT_S} s that it is paused; sent: {sent}")


async def _is_paused(rpc: Rpc, signed: SignedPause) -> bool:
    """Raises: RailError, also if the vault takes no such message."""
    standing = await ask_vault(rpc, signed.pause.vault)
    if standing.chain_id != signed.pause.chain_id:
        raise RailError(f"is of chain {standing.chain_id}")
    if not standing.is_paused and standing.epoch != signed.pause.epoch:
        raise RailError(f"says that the vault's epoch is {standing.epoch}, and the message is for {signed.pause.epoch}")
    if standing.guardian != signed.guardian:
        raise RailError(f"says that the vault's guardian is {eip55(standing.guardian)}, who didn't sign this")
    return standing.is_paused
