"""A hash-chained file that only grows: the signer's journal, guard's copy of it, and guard's control log."""
