"""How long what people give a payout may be, and how many may come together."""

from typing import Final

EXTERNAL_ID_MAXIMUM: Final = 100
"""Characters of the client's own name for a debt."""
REMITTANCE_INFORMATION_MAXIMUM: Final = 140
"""Characters; ISO 20022 `Ustrd` has 140."""
ACTIVITIES_MAXIMUM: Final = 1_000
METADATA_ENTRIES_MAXIMUM: Final = 20
RUN_ITEMS_MAXIMUM: Final = 200_000
"""An item of a run is named by its place in it."""
RUN_CALL_ITEMS_MAXIMUM: Final = 10_000
