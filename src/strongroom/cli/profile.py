"""A connection profile `strongroom/profile/v1`: where a deployment answers, whose signatures are believed, and as whom.

A JSON file without secrets; keys stand in files that it names, beside it or by their whole path. `sandbox.json` is one
with more in it, about the sandbox itself. Every field is checked before a command uses any, and what is wrong is named.
What a command needs and the file hasn't got is said when it is asked for.
"""

import json
import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from strongroom.cli.output import Exit, Stop
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import parse_client_id, parse_key_id, parse_organisation_id, parse_person_id
from strongroom.domain.permissions import SignIn, parse_scopes
from strongroom.protocol.record import take_bytes, take_distinct
from strongroom.protocol.roster import (
    CLIENTS_MAXIMUM,
    CREDENTIAL_ID_MAXIMUM,
    CREDENTIALS_MAXIMUM,
    GROUPS_MAXIMUM,
    PEOPLE_MAXIMUM,
    Role,
)

PROFILE_TYPE: Final = "strongroom/profile/v1"
PROFILE_MAXIMUM: Final = 2**20
PATH_MAXIMUM: Final = 4_096
SANDBOX_FIELDS: Final = ("bitcoin", "console_url", "evm", "isolation", "pids", "ready", "simulated", "station_url")
"""What sandbox.json says besides."""

_DEPLOYMENT: Final = re.compile(r"[0-9a-f]{16}")
_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

class Profile(dict[str, Any]):
    """What a profile says, by the names of its fields. Raises: Stop for one that isn't there."""

    def __init__(self, file: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.file = file

    def __missing__(self, name: str) -> Any:
        raise Stop(Exit.USAGE, f"{self.file}: {name}: is missing, and this command needs it")


def read_profile(file: Path) -> Profile:
    """Raises: Stop, with the field at fault."""
    try:
        with file.open("rb") as handle:
            raw = handle.read(PROFILE_MAXIMUM + 1)
        if len(raw) > PROFILE_MAXIMUM:
            raise Stop(Exit.FAILED, f"{file} is longer than {PROFILE_MAXIMUM} bytes")
        found = json.loads(raw)
        return Profile(file, _checked(Fields(found), file.parent))
    except (OSError, ValueError, RecursionError) as fault:
        what = fault.strerror if isinstance(fault, OSError) else fault
        kind = "" if isinstance(fault, DocumentError) else "can't be read: "
        raise Stop(Exit.FAILED, f"{file}: {kind}{what}") from fault


def transport(profile: Mapping[str, Any]) -> httpx.HTTPTransport:
    """Verifies its peer, by the profile's own authority if it names one. Raises: Stop."""
    file = profile.get("ca_file")
    try:
        return httpx.HTTPTransport(verify=ssl.create_default_context(cafile=file))
    except OSError as fault:
        raise Stop(Exit.FAILED, f"ca_file: {file} can't be read as certificates: {fault}") from fault


def _checked(fields: Fields, folder: Path) -> dict[str, Any]:
    """Raises: DocumentError."""
    made: dict[str, Any] = {name: fields.take(name) for name in SANDBOX_FIELDS if name in fields.names()}
    if fields.has("type"):
        fields.exactly("type", PROFILE_TYPE)

    def url(name: str) -> str:
        return fields.parsed(name, _url)

    def key(name: str) -> str:
        return take_bytes(fields, name, 32, 32).hex()

    def path(name: str) -> str:
        return str(folder / fields.text(name, PATH_MAXIMUM))

    readers: dict[str, Callable[[str], object]] = {
        "api_url": url, "guard_url": url, "checkpoint_public_key": key, "guard_public_key": key,
        "statement_public_key": key, "admin_socket": path, "ca_file": path,
        "assets": lambda name: _assets(fields.inner(name)),
        "clients": lambda name: _clients(fields.inner(name), folder),
        "database_url": lambda name: fields.text(name, PATH_MAXIMUM),
        "deployment": lambda name: fields.parsed(name, _matching(_DEPLOYMENT, "16 lower-case hex digits")),
        "organisation": lambda name: fields.parsed(name, parse_organisation_id),
        "people": lambda name: _people(fields.each(name, 0, PEOPLE_MAXIMUM), folder),
        "relying_party": lambda name: _relying_party(fields.inner(name)),
    }
    made |= {name: read(name) for name, read in readers.items() if fields.has(name)}
    fields.close()
    return made


def _url(text: str) -> str:
    parts = urlsplit(text)
    host = parts.hostname or ""
    loopback = host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise ValueError("must be like https://api.example.org")
    if parts.scheme == "http" and not loopback:
        raise ValueError("must be https; http is for this machine only")
    return text.rstrip("/")


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(f"must be {what}")
        return text

    return parse


def _relying_party(fields: Fields) -> dict[str, str]:
    made = {"id": fields.text("id"), "origin": fields.text("origin")}
    fields.close()
    return made


def _assets(fields: Fields) -> dict[str, str]:
    return {symbol: fields.text(symbol) for symbol in fields.names()}


def _clients(fields: Fields, folder: Path) -> dict[str, dict[str, Any]]:
    names = fields.names()
    if len(names) > CLIENTS_MAXIMUM:
        raise DocumentError("clients", f"must be at most {CLIENTS_MAXIMUM}")
    return {name: _client(fields.inner(name), folder) for name in names}


def _client(fields: Fields, folder: Path) -> dict[str, Any]:
    """One that signs, with its key in a file; or a bearer token, which only sandbox.json holds."""
    if fields.has("bearer"):
        made: dict[str, Any] = {"bearer": fields.text("bearer")}
    else:
        made = {
            "client_id": fields.parsed("client_id", parse_client_id), "key_id": fields.parsed("key_id", parse_key_id),
            "private_key_file": str(folder / fields.text("private_key_file", PATH_MAXIMUM)),
        }
    if fields.has("scopes"):
        made["scopes"] = list(take_distinct(fields, "scopes", 64, str))
        try:
            parse_scopes(made["scopes"], SignIn.CLIENT_SIGNATURE)
        except ValueError as fault:
            raise DocumentError(fields.path("scopes"), str(fault)) from fault
    fields.close()
    return made


def _people(rows: list[Fields], folder: Path) -> list[dict[str, Any]]:
    people = [_person(each, folder) for each in rows]
    logins = [each["login"] for each in people]
    for at, login in enumerate(logins):
        if login in logins[:at]:
            raise DocumentError(f"people[{at}].login", "stands there twice")
    return people


def _person(fields: Fields, folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": fields.parsed("id", parse_person_id), "name": fields.text("name"),
        "login": fields.parsed("login", _matching(_LOGIN, "1 to 64 of a-z, 0-9, dot, dash and underscore")),
    }
    if fields.has("roles"):
        made["roles"] = [role.value for role in take_distinct(fields, "roles", len(Role), Role)]
    if fields.has("groups"):
        made["groups"] = list(take_distinct(fields, "groups", GROUPS_MAXIMUM, str))
    if fields.has("credential_ids"):
        made["credential_ids"] = list(take_distinct(fields, "credential_ids", CREDENTIALS_MAXIMUM, _hex))
    for name in ("software_key_file", "console_key_file"):
        if fields.has(name):
            made[name] = str(folder / fields.text(name, PATH_MAXIMUM))
    fields.close()
    return made


def _hex(text: str) -> str:
    if not 2 <= len(text) <= 2 * CREDENTIAL_ID_MAXIMUM or bytes.fromhex(text).hex() != text:
        raise ValueError("must be lower-case hex")
    return text
