"""Plug-ins that read chains and send to them, one for each network, behind one port. They hold no key."""
