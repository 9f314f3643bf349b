"""TRUST BOUNDARY: will verify everything and then sign. Empty so far: nothing signs a payment yet."""
