"""Will talk to chains and banks. Empty so far."""
