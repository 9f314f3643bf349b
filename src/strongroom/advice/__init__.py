"""Advice about policies: what is wrong or unwise in one, what it bounds, what a change does. Pure; decides nothing.

For the people who write and sign policies. The signer imports nothing of it, and no payment depends on it.
"""
