"""The console's static files, read at start: what isn't among them isn't served."""

from pathlib import Path
from typing import Final

from strongroom.console.view import etag
from strongroom.console.web import Reply, Request

STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


class Assets:
    def __init__(self, folder: Path = STATIC) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        for file in sorted(folder.rglob("*")):
            if file.suffix in _TYPES and file.is_file():
                raw = file.read_bytes()
                self._files[f"/static/{file.relative_to(folder).as_posix()}"] = (raw, _TYPES[file.suffix], etag(raw))

    def serve(self, request: Request) -> Reply | None:
        """None if there is no such file."""
        found = self._files.get(request.path)
        if found is None or request.method not in ("GET", "HEAD"):
            return None
        raw, kind, tag = found
        headers = [(b"etag", f'"{tag}"'.encode()), (b"cache-control", b"no-cache")]
        if request.headers.get("if-none-match") == f'"{tag}"':
            return Reply(304, b"", kind, headers)
        return Reply(200, raw, kind, headers)
