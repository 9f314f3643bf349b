"""Reading a parsed JSON object field by field, refusing what is missing, of the wrong kind, or unknown.

Policies and rosters are documents that people sign: a field that we don't know could mean something to
whoever wrote it, so it is refused, never skipped. Takes plain values from a strict JSON parser.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from strongroom.domain.money import MoneyError, parse_amount_minor

_Value = TypeVar("_Value")


class DocumentError(ValueError):
    """A field of a document is wrong; `field` is its path, such as `tiers[1].approvals`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class Fields:
    """The fields of one object, each taken once; `close` and `done` refuse what nobody took."""

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, Mapping):
            raise DocumentError(path, "must be an object")
        self._left: dict[str, object] = dict(value)
        self._path = path

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def take(self, name: str) -> object:
        if name not in self._left:
            raise DocumentError(self.path(name), "is missing")
        return self._left.pop(name)

    def text(self, name: str, maximum: int = 255) -> str:
        """A string of 1 to `maximum` characters."""
        value = self.take(name)
        if not isinstance(value, str) or not 1 <= len(value) <= maximum:
            raise DocumentError(self.path(name), f"must be a string of 1 to {maximum} characters")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or an explicit null."""
        if self._left.get(name, "") is None:
            self._left.pop(name)
            return None
        return self.text(name)

    def parsed(self, name: str, parse: Callable[[str], _Value]) -> _Value:
        """A string that `parse` turns into a type; its ValueError becomes ours."""
        text = self.text(name)
        try:
            return parse(text)
        except ValueError as fault:
            raise DocumentError(self.path(name), str(fault)) from fault

    def integer(self, name: str, minimum: int, maximum: int) -> int:
        value = self.take(name)
        if type(value) is not int or not minimum <= value <= maximum:
            raise DocumentError(self.path(name), f"must be an integer from {minimum} to {maximum}")
        return value

    def flag(self, name: str) -> bool:
        value = self.take(name)
        if type(value) is not bool:
            raise DocumentError(self.path(name), "must be true or false")
        return value

    def minor(self, name: str) -> int:
        """Base or minor units as their decimal string; from 1."""
        try:
            return parse_amount_minor(self.text(name))
        except MoneyError as fault:
            raise DocumentError(self.path(name), str(fault)) from fault

    def exactly(self, name: str, expected: str) -> None:
        if self.take(name) != expected:
            raise DocumentError(self.path(name), f"must be {expected!r}")

    def has(self, name: str) -> bool:
        """Whether it is there and not null; a null is taken."""
        if self._left.get(name, "") is None:
            self._left.pop(name)
        return name in self._left

    def inner(self, name: str) -> "Fields":
        return Fields(self.take(name), self.path(name))

    def each(self, name: str, minimum: int, maximum: int) -> list["Fields"]:
        """The objects of a list that has `minimum` to `maximum` of them."""
        values = self.take(name)
        if not isinstance(values, list) or not minimum <= len(values) <= maximum:
            raise DocumentError(self.path(name), f"must be a list of {minimum} to {maximum} objects")
        return [Fields(value, f"{self.path(name)}[{index}]") for index, value in enumerate(values)]

    def rows(self, name: str, width: int, maximum: int = 2**20) -> list[list[str]]:
        """A list of lists of exactly `width` strings each."""
        values = self.take(name)
        if not isinstance(values, list) or len(values) > maximum:
            raise DocumentError(self.path(name), f"must be a list of at most {maximum} rows")
        for index, row in enumerate(values):
            if not isinstance(row, list) or len(row) != width or {*map(type, row)} != {str}:
                raise DocumentError(f"{self.path(name)}[{index}]", f"must be a list of {width} strings")
        return values

    def names(self) -> list[str]:
        """What hasn't been taken, for objects whose keys are data."""
        return list(self._left)

    def close(self) -> None:
        for name in self._left:
            raise DocumentError(self.path(name), "is unknown")

    def done(self, made: _Value) -> _Value:
        """What was made of all the fields."""
        self.close()
        return made
