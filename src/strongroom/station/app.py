"""The station's server: a folder of files, read once, handed out under a strict policy. It takes nothing in.

GET and HEAD of exact paths, for its own host name only; everything else is refused. What is served is one hash
(`protocol.station_bundle`), said at `/bundle.json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from strongroom.protocol.canonical import encode
from strongroom.protocol.station_bundle import BUNDLE_PATH, bundle_document
from strongroom.station.config import Config

BUNDLE: Final = Path(__file__).with_name("bundle")
CONFIG_PATH: Final = "/config.json"
_JSON: Final = "application/json"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml", ".woff2": "font/woff2", ".json": _JSON,
}
_NO_FEATURES: Final = (
    "accelerometer", "autoplay", "bluetooth", "camera", "clipboard-read", "display-capture", "fullscreen",
    "geolocation", "gyroscope", "hid", "identity-credentials-get", "idle-detection", "magnetometer", "microphone",
    "midi", "payment", "screen-wake-lock", "serial", "usb", "web-share", "xr-spatial-tracking",
)

Headers = list[tuple[bytes, bytes]]


def read_files(folder: Path, config: Config) -> dict[str, bytes]:
    """Path → what stands there: the page at `/`, the configuration, and every file of a kind that is served."""
    files = {CONFIG_PATH: config.served()}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in _TYPES:
            path = f"/{file.relative_to(folder).as_posix()}"
            files["/" if path == "/index.html" else path] = file.read_bytes()
    return files


def policy(config: Config) -> str:
    """The Content-Security-Policy. The page reads its own configuration, and speaks to console and guard."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        f"connect-src 'self' {config.console_origin} {config.guard_origin}; form-action 'none'; "
        "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


class App:
    def __init__(self, config: Config, files: Mapping[str, bytes]) -> None:
        self._host = config.authority.encode()
        self._files = {**files, BUNDLE_PATH: encode(bundle_document(files))}
        features = [f"{name}=()" for name in _NO_FEATURES]
        features += ["publickey-credentials-create=(self)", "publickey-credentials-get=(self)"]
        self._headers: Headers = [(name.encode(), value.encode()) for name, value in (
            ("content-security-policy", policy(config)), ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"), ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-embedder-policy", "require-corp"), ("cross-origin-resource-policy", "same-origin"),
            ("permissions-policy", ", ".join(features)), ("x-frame-options", "DENY"), ("cache-control", "no-store"),
        )]

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"this server speaks HTTP only, not {scope['type']}")
        status, kind, body = self._answer(scope)
        headers = [*self._headers, (b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, scope: Mapping[str, Any]) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if hosts != [self._host]:
            return 421, _TYPES[".html"], b"this isn't the host of the station\n"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, _TYPES[".html"], b"GET or HEAD\n"
        path = scope["raw_path"].decode("latin-1")
        body = None if scope["query_string"] else self._files.get(path)
        if body is None:
            return 404, _TYPES[".html"], b"there is nothing here\n"
        return 200, _TYPES[".html" if path == "/" else Path(path).suffix], body
