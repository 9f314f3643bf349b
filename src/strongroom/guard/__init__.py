"""TRUST BOUNDARY: will keep the second copy of the signer's journal. Empty so far."""
