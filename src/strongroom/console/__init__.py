"""People's pages: what waits, what was paid, who may what. TRUST BOUNDARY.

Approves for nobody, and reaches neither signer nor guard nor a node: what moves money is asserted at the station.
"""
