"""Relays frames between signer and guard. They are signed, so it can neither read anything into them nor change them."""
