"""What crosses a boundary: canonical records, signatures, trees, checkpoints. Pure."""
