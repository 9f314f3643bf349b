"""Which plug-in speaks for which network."""

from collections.abc import Callable
from typing import Final

from strongroom.formats.simulated import NETWORK as SIMULATED
from strongroom.rails.port import Rail, RailError
from strongroom.rails.simulated import SimulatedRail

RAILS: Final[dict[str, Callable[[str, str], Rail]]] = {SIMULATED: SimulatedRail}
"""By CAIP-2 network; each is made from its node's URL and the hash of the first block that it must find there."""


def open_rail(network: str, url: str, genesis: str) -> Rail:
    """Not connected yet: whoever opens it asks for its identity before anything else. Raises: RailError."""
    plug_in = RAILS.get(network)
    if plug_in is None:
        raise RailError(f"there is no rail for the network {network}")
    return plug_in(url, genesis)
