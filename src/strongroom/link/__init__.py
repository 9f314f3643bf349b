"""Relays frames between signer and guard. They are signed, so it can neither add to them nor change them."""
