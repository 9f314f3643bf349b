"""Sequences the audit log and signs its checkpoints. Sees, and can't move."""
