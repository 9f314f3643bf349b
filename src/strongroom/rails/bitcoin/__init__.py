"""The Bitcoin rail: a node of one's own, asked by JSON-RPC."""
