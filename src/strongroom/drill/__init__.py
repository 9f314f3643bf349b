"""Will attack the owner's own deployment and print the loss. Empty so far."""
