"""Bytes that say where money goes: addresses, assets, accounts, payee files. Pure."""
