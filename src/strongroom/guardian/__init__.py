"""Pauses hot vaults on EVM chains while guard has an alarm of stolen money. On guard's machine, as another user; it
holds the key that can pause, and no other. Guard knows nothing of it and waits for it never."""
