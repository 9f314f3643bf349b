"""Will send webhooks and alerts. Empty so far: the outbox is written, nobody empties it."""
