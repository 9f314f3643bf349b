"""Fields of a document are taken once each, by their kind; what is wrong is named by its path."""

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.domain.document import DocumentError, Fields

GOOD: list[tuple[Callable[[Fields], Any], Any, Any]] = [
    (lambda fields: fields.exactly("x", "y"), "y", None),
    (lambda fields: fields.rows("x", 2), [["a", "b"], ["c", "d"]], [["a", "b"], ["c", "d"]]),
    (lambda fields: fields.rows("x", 1), [], []),
    (lambda fields: fields.optional_text("x"), None, None),
    (lambda fields: fields.optional_text("x"), "y", "y"),
    (lambda fields: fields.has("x"), None, False),
    (lambda fields: fields.flag("x"), True, True),
    (lambda fields: fields.minor("x"), "12", 12),
]
BAD: list[tuple[Callable[[Fields], Any], Any, str]] = [
    (lambda fields: fields.exactly("x", "y"), "z", "top.x: must be 'y'"),
    (lambda fields: fields.rows("x", 2), {}, "top.x: must be a list of at most"),
    (lambda fields: fields.rows("x", 1, 2), [["a"]] * 3, "top.x: must be a list of at most 2 rows"),
    (lambda fields: fields.rows("x", 2), [["a", "b"], ["c"]], "top.x[1]: must be a list of 2 strings"),
    (lambda fields: fields.rows("x", 1), [[1]], "top.x[0]: must be a list of 1 strings"),
    (lambda fields: fields.rows("x", 1), ["a"], "top.x[0]: must be a list of 1 strings"),
    (lambda fields: fields.inner("x"), [], "top.x: must be an object"),
    (lambda fields: fields.each("x", 1, 2), [], "top.x: must be a list of 1 to 2 objects"),
    (lambda fields: fields.each("x", 1, 2), [{}, 1], "top.x[1]: must be an object"),
    (lambda fields: fields.flag("x"), 1, "top.x: must be true or false"),
    (lambda fields: fields.integer("x", 0, 1), True, "top.x: must be an integer from 0 to 1"),
    (lambda fields: fields.minor("x"), "0", "top.x: "),
    (lambda fields: fields.text("y"), "a", "top.y: is missing"),
]


@pytest.mark.parametrize(("take", "value", "taken"), GOOD)
def test_it_is_taken_once(take: Callable[[Fields], Any], value: Any, taken: Any) -> None:
    fields = Fields({"x": value}, "top")
    assert take(fields) == taken
    fields.close()
    with pytest.raises(DocumentError, match=r"top\.x: is missing"):
        fields.take("x")


@pytest.mark.parametrize(("take", "value", "reason"), BAD)
def test_it_is_refused_by_its_path(take: Callable[[Fields], Any], value: Any, reason: str) -> None:
    with pytest.raises(DocumentError) as fault:
        take(Fields({"x": value}, "top"))
    assert str(fault.value).startswith(reason)


def test_what_nobody_took_is_refused() -> None:
    fields = Fields({"x": 1, "y": 2})
    assert fields.take("x") == 1
    assert fields.names() == ["y"]
    with pytest.raises(DocumentError, match=r"^y: is unknown$"):
        fields.close()
