"""What the guardian is told: whatever can't be used is refused by the name of its field, and a key is never shown."""

import json
from pathlib import Path

import pytest

from strongroom.guardian.config import ConfigError, read_config, read_key

KEY = "ab" * 32


def written(tmp: Path, **changes: object) -> Path:
    file = tmp / "guardian.json"
    file.write_text(json.dumps({
        "folder": str(tmp), "guard_url": "http://127.0.0.1:8423", "key_file": str(tmp / "guardian.key"),
        "nodes": {"eip155:1": ["https://one.example/key", "https://two.example"]},
    } | changes))
    return file


def test_it_is_read(tmp_path: Path) -> None:
    config = read_config(written(tmp_path))
    assert config.nodes == {"eip155:1": ["https://one.example/key", "https://two.example"]}
    assert (config.fee_maximum_gwei, config.pause_ms, config.stuck_ms) == (500, 500, 12_000)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("nodes", {}), ("nodes", {"bitcoin": ["https://node.example"]}), ("nodes", {"eip155:1": []}),
        ("nodes", {"eip155:1": ["http://node.example"]}), ("folder", "/nowhere"), ("pause_ms", 1),
        ("key_file", 1), ("guard_ca_file", 1), ("fee_maximum_gwei", 0), ("more", 1),
    ],
)
def test_what_cant_be_used_is_refused_by_its_name(tmp_path: Path, field: str, wrong: object) -> None:
    with pytest.raises(ConfigError, match=field):
        read_config(written(tmp_path, **{field: wrong}))


def test_a_provider_s_key_in_its_address_isnt_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as fault:
        read_config(written(tmp_path, nodes={"eip155:1": ["http://node.example/secret"]}))
    assert "secret" not in str(fault.value)


@pytest.mark.parametrize("text", [KEY, f"0x{KEY}\n", KEY.upper()])
def test_a_key_is_32_bytes_in_hex(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    assert read_key(tmp_path / "key").to_hex() == KEY


@pytest.mark.parametrize("text", ["", "00" * 32, "ff" * 32, "abcdef", "\u2603", "abcdefgh" * 8, None])
def test_what_isnt_a_key_is_refused_and_not_shown(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "key").write_text(text)
    with pytest.raises(ConfigError, match="64 hex digits") as fault:
        read_key(tmp_path / "key")
    assert not text or text not in str(fault.value)
