"""Takes signed requests from clients and records them. TRUST BOUNDARY: holds nothing secret, moves nothing."""
