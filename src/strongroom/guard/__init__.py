"""TRUST BOUNDARY: keeps the second copy of the signer's journal, and can stop payments. It can't make one."""
