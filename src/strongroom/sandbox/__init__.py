"""Brings a whole deployment up on one machine, with real nodes, and down again."""
