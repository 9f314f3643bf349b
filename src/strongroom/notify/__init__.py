"""Tells an organisation's members of pending changes, by mail. On guard's machine, as another user; guard knows nothing
of it and waits for it never."""
