"""The systemd units: a user per process, all of the hardening lines, and what the signer in particular needs."""

import json
import re
from pathlib import Path

import pytest
from tests.repository.documents import ROOT

from strongroom.cli.serve import BUILT
from strongroom.signer.config import read_config

UNITS = ROOT / "deploy/systemd"
SERVICES = sorted(UNITS.glob("*.service"))
HARDENING = {
    "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "AmbientCapabilities": "", "UMask": "0077", "LimitCORE": "0",
    "ProtectSystem": "strict", "ProtectHome": "yes", "ProtectProc": "invisible", "ProcSubset": "pid",
    "ProtectClock": "yes", "ProtectHostname": "yes", "ProtectKernelLogs": "yes", "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes", "ProtectControlGroups": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes",
    "RemoveIPC": "yes", "KeyringMode": "private", "LockPersonality": "yes", "MemoryDenyWriteExecute": "yes",
    "RestrictNamespaces": "yes", "RestrictRealtime": "yes", "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native", "SystemCallErrorNumber": "EPERM",
}


def lines_of(unit: Path, section: str) -> list[tuple[str, str]]:
    """Every line of a section; a name may stand there more than once."""
    body = re.split(r"^\[(\w+)\]$", unit.read_text(), flags=re.MULTILINE)
    found = dict(zip(body[1::2], body[2::2], strict=True))[section]
    pairs = (line.partition("=") for line in found.splitlines() if "=" in line and not line.startswith("#"))
    return [(name, value) for name, _, value in pairs]


def service(name: str) -> dict[str, str]:
    return dict(lines_of(UNITS / f"strongroom-{name}.service", "Service"))


def test_every_process_that_is_built_has_a_unit_and_no_other_has() -> None:
    assert [unit.stem for unit in SERVICES] == [f"strongroom-{name}" for name in BUILT]


@pytest.mark.parametrize("name", BUILT)
def test_a_unit_runs_its_process_as_its_own_user_and_hardened(name: str) -> None:
    lines = service(name)
    assert (lines["User"], lines["Group"]) == (f"strongroom-{name}",) * 2
    assert f"/opt/strongroom/bin/strongroom serve {name} --config /etc/strongroom/{name}.json" in lines["ExecStart"]
    assert {key: lines.get(key) for key in HARDENING} == HARDENING
    users = (ROOT / "deploy/sysusers.d/strongroom.conf").read_text()
    assert re.search(rf"^u strongroom-{name} +- ", users, re.MULTILINE)


def test_the_signer_has_no_network_and_may_do_what_locking_itself_down_takes() -> None:
    lines = service("signer")
    assert [lines[key] for key in ("PrivateNetwork", "RestrictAddressFamilies", "IPAddressDeny", "LimitMEMLOCK")] == [
        "yes", "AF_UNIX", "any", "infinity",
    ]
    assert "PrivateUsers" not in lines  # it must see whose user connects
    every = lines_of(UNITS / "strongroom-signer.service", "Service")
    assert [value for key, value in every if key == "SystemCallFilter"] == [
        "@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp", "~@privileged",
    ]


def test_the_documented_configuration_fits_the_sockets(tmp_path: Path) -> None:
    text = (ROOT / "deploy/README.md").read_text()
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    file = tmp_path / "signer.json"
    file.write_text(json.dumps(json.loads(found[1])))
    config = read_config(str(file))
    listened = [value for key, value in lines_of(UNITS / "strongroom-signer.socket", "Socket") if key == "ListenStream"]
    assert listened == [f"/run/strongroom/{name}/signer.sock" for name in ("engine", "admin", "link")]
    assert (config.engine, config.admin, config.link, config.identity) == (3, 4, 5, 6)
    assert config.folder == f"/var/lib/{service('signer')['StateDirectory']}"
    folders = (ROOT / "deploy/tmpfiles.d/strongroom.conf").read_text()
    for name in ("engine", "admin", "link"):
        assert re.search(rf"^d /run/strongroom/{name} +0750 root strongroom-{name} ", folders, re.MULTILINE)
