"""What the guardian is told: guard's listener, its own key and folder, and the nodes by which it reaches vaults.

Which vaults there are isn't said here: guard tells them, by the policies in force.
"""

import re
from pathlib import Path
from typing import Annotated, Final

import msgspec
from coincurve import PrivateKey

from strongroom.formats.evm_address import EVM_NETWORK
from strongroom.rails.evm.rpc import Rpc
from strongroom.rails.port import RailError

NODES_MAXIMUM: Final = 8
GWEI: Final = 10**9
_KEY: Final = re.compile("[0-9a-f]{64}")
Urls = Annotated[list[str], msgspec.Meta(min_length=1, max_length=NODES_MAXIMUM)]
Gwei = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class ConfigError(Exception):
    """The configuration can't be used; the message names the field."""


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`nodes` are the URLs of each network, each of which is told by itself: more of them are harder to hold up.

    `folder` takes the pauses that were signed. Its account pays at most `fee_maximum_gwei` for a unit of gas.
    `guard_ca_file` is what guard's certificate must come from, instead of the system's authorities.
    """

    guard_url: str
    key_file: str
    folder: str
    nodes: dict[str, Urls]
    guard_ca_file: str | None = None
    fee_maximum_gwei: Gwei = 500
    pause_ms: Annotated[int, msgspec.Meta(ge=50, le=60_000)] = 500
    stuck_ms: Annotated[int, msgspec.Meta(ge=500, le=600_000)] = 12_000


def read_config(file: Path) -> Config:
    """Raises: ConfigError."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{file}: {fault}") from fault
    if not config.nodes:
        raise ConfigError(f"{file}: nodes: must name the nodes of one network at least")
    for network, urls in config.nodes.items():
        if EVM_NETWORK.fullmatch(network) is None:
            raise ConfigError(f"{file}: nodes: {network} isn't an EVM network, such as eip155:1")
        for url in urls:
            try:
                Rpc(url)
            except RailError as fault:
                raise ConfigError(f"{file}: nodes.{network}: {fault}") from fault
    if not Path(config.folder).is_dir():
        raise ConfigError(f"{file}: folder: {config.folder} isn't a folder")
    return config


def read_key(file: Path) -> PrivateKey:
    """32 bytes as 64 hex digits. Raises: ConfigError, which says nothing of the key."""
    try:
        text = file.read_text("ascii").strip().removeprefix("0x").lower()
    except (OSError, ValueError):
        text = ""
    try:
        if _KEY.fullmatch(text) is not None:
            return PrivateKey.from_hex(text)
    except ValueError:  # zero, or above the group's order
        pass
    raise ConfigError(f"{file} can't be read as a key: it must hold 64 hex digits")
