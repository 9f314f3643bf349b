"""TRUST BOUNDARY: will show people their queues. Empty so far."""
