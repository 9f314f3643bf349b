"""What a program raises that finds itself wrong: it must stop, and never go on with a guess."""


class InvariantError(Exception):
    """Something that must hold doesn't: stop, and tell people. Never caught to go on."""
