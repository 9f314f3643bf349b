"""What goes wrong, by who said so: the API with a code, the network, or the answer itself."""

from collections.abc import Mapping
from typing import Any, Final


class SdkError(Exception):
    """Anything that the SDK raises about a call. `idempotency_key` is the one that the call was sent with: the same
    call under the same key is the same request."""

    idempotency_key: str | None = None


class ApiError(SdkError):
    """The API refused. Branch on the class, or on `code`, which is finer and never changes its meaning."""

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


class IdempotencyKeyReusedError(InvalidRequestError):
    """The key was used for another request; `field` is the first that differs."""


class NotFoundError(ApiError):
    """There is no such thing, or it is another's."""


class ConflictError(ApiError):
    """The state of things doesn't allow it: paid already, too late, above what the policy ever allows."""


class HeldError(ConflictError):
    """It can't go out now, and `on_hold="refuse"` asked to be told so. Later the same request may be taken."""


class RateLimitedError(ApiError):
    """Too many requests; the SDK has tried again already."""


class ServerError(ApiError):
    """The API has a fault or isn't ready; the SDK has tried again already."""


class TransportError(SdkError):
    """The API can't be reached, or gave no whole answer. Whether a write was taken isn't known: send the same call
    under the same `idempotency_key` again."""


class MismatchError(SdkError):
    """The answer isn't what this request must lead to: an id, digest or root differs from what we compute ourselves,
    or the answer hasn't the form that the API promises. Believe nothing of it."""


_BY_CODE: Final[Mapping[str, type[ApiError]]] = {
    "idempotency_key_reused": IdempotencyKeyReusedError,
    "insufficient_funds": HeldError,
    "beneficiary_cooling": HeldError,
    "frozen": HeldError,
    "limit_window": HeldError,
    "held": HeldError,
}
_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: InvalidRequestError, 401: AuthenticationError, 403: AuthenticationError, 404: NotFoundError,
    405: InvalidRequestError, 408: InvalidRequestError, 409: ConflictError, 413: InvalidRequestError,
    422: InvalidRequestError, 429: RateLimitedError,
}


def api_error(problem: Mapping[str, Any], status: int, retry_after_s: float | None) -> ApiError:
    """The class for a code, else for a status."""
    kind = _BY_CODE.get(str(problem.get("code")))
    if kind is None:
        kind = ServerError if status >= 500 else _BY_STATUS.get(status, ApiError)
    return kind(problem, status, retry_after_s)
