"""Moves payouts along, from intake to settlement. Holds no key, and is believed by nobody."""
