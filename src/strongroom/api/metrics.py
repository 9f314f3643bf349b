"""Counts for Prometheus, in its text form, on a port of their own that clients don't reach."""

from collections import Counter
from typing import Any, Final

_TYPE: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class Metrics:
    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._total_s: dict[str, float] = {}

    def count(self, method: str, status: int, seconds: float) -> None:
        self._answers[method, status] += 1
        self._total_s[method] = self._total_s.get(method, 0.0) + seconds

    def text(self) -> str:
        lines = ["# TYPE strongroom_api_requests_total counter"]
        for (method, status), count in sorted(self._answers.items()):
            lines.append(f'strongroom_api_requests_total{{method="{method}",status="{status}"}} {count}')
        lines.append("# TYPE strongroom_api_request_seconds_total counter")
        for method, seconds in sorted(self._total_s.items()):
            lines.append(f'strongroom_api_request_seconds_total{{method="{method}"}} {seconds:.6f}')
        return "\n".join(lines) + "\n"

    async def __call__(self, scope: Any, _: Any, send: Any) -> None:
        """The application on the metrics port."""
        found = scope["type"] == "http" and scope["path"] == "/metrics"
        body = self.text().encode() if found else b""
        await send({"type": "http.response.start", "status": 200 if found else 404, "headers": [_TYPE]})
        await send({"type": "http.response.body", "body": body})
