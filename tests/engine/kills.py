"""Ends the engine between any two things that it does outside of itself, as a SIGKILL would.

A point lies before and after every statement that writes, every commit, every question to the signer and every
broadcast. At the armed one `Killed` is raised; the test then throws the engine's connection away, which rolls back
what wasn't committed, and starts another engine.
"""

from types import TracebackType
from typing import Any

_WRITES = ("SELECT strongroom.engine_", "SELECT pg_try_advisory_lock")


class Killed(BaseException):
    """Not an Exception: nothing may handle it."""


class Points:
    """`names` are those that were passed, in their order; the one with the number `kill_at` is the last."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.kill_at = 0

    def arm(self, number: int) -> None:
        self.names, self.kill_at = [], number

    def passed(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.kill_at:
            self.kill_at = 0
            raise Killed(name)

    def wrap(self, inner: Any) -> Any:
        return _Wrapped(inner, self)


class _Wrapped:
    def __init__(self, inner: Any, points: Points) -> None:
        self._inner, self._points = inner, points

    def transaction(self, **how: Any) -> "_Transaction":
        return _Transaction(self._inner.transaction(**how), self._points)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in ("execute", "fetchval", "ask", "broadcast"):
            return value

        async def call(*arguments: Any, **how: Any) -> Any:
            what = str(arguments[0])
            if name in ("execute", "fetchval") and not what.startswith(_WRITES):
                return await value(*arguments, **how)
            label = what.partition("(")[0].removeprefix("SELECT strongroom.") if name != "broadcast" else name
            self._points.passed(f"before {label}")
            answer = await value(*arguments, **how)
            self._points.passed(f"after {label}")
            return answer

        return call


class _Transaction:
    def __init__(self, inner: Any, points: Points) -> None:
        self._inner, self._points = inner, points

    async def __aenter__(self) -> None:
        await self._inner.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._points.passed("before commit")
        await self._inner.__aexit__(kind, fault, trace)
        if kind is None:
            self._points.passed("after commit")
