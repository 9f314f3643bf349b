"""Will be the page on which approvers see and sign exact bytes. Empty so far."""
