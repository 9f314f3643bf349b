"""What goes wrong, by who said so: the API with a code, the network, or the answer itself."""

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The API refused. Branch on `code`; subclasses group the codes."""

    def __init__(self, problem: Mapping[str, Any], status: int, retry_after_s: float | None = None) -> None:
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", ""))
        self.field = problem.get("field")
        self.request_id = problem.get("request_id")
        self.status = status
        self.retry_after_s = retry_after_s
        named = f"{self.field}: " if self.field else ""
        super().__init__(f"{self.code}: {named}{self.detail}")


class AuthenticationError(ApiError):
    """The signature or the key isn't good, or the key may not do this."""


class InvalidRequestError(ApiError):
    """The request is wrong; `field` says where."""


class NotFoundError(ApiError):
    """There is no such thing, or it is another's."""


class ConflictError(ApiError):
    """The state of things doesn't allow it: a hold, a limit, a used key, too late."""


class RateLimitedError(ApiError):
    """Too many requests; the SDK has tried again already."""


class ServerError(ApiError):
    """The API has a fault or isn't ready; the SDK has tried again already."""


class TransportError(Exception):
    """The API can't be reached, or gave no answer; whether a request was taken isn't known. Send it again as it is."""


class MismatchError(Exception):
    """The answer isn't what this request must lead to: an id or digest differs from what we compute ourselves."""


def api_error(problem: Mapping[str, Any], status: int, retry_after_s: float | None) -> ApiError:
    """The subclass for a status."""
    kind = ApiError
    if status in (401, 403):
        kind = AuthenticationError
    elif status == 404:
        kind = NotFoundError
    elif status == 409:
        kind = ConflictError
    elif status == 429:
        kind = RateLimitedError
    elif status >= 500:
        kind = ServerError
    elif status in (400, 405, 408, 413, 422):
        kind = InvalidRequestError
    return kind(problem, status, retry_after_s)
