"""How long what people give a payout may be, and how many may come together."""

from typing import Final

EXTERNAL_ID_MAXIMUM: Final = 100
"""Characters of the client's own name for a debt."""
RUN_ITEMS_MAXIMUM: Final = 200_000
"""An item of a run is named by its place in it."""
