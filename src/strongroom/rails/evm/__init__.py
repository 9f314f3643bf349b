"""Chains that run the Ethereum Virtual Machine: what stands in their blocks, what is sent, and what mustn't be."""
