"""Will relay frames between signer and guard. Empty so far."""
