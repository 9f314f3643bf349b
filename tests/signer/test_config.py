"""What the signer is told is read whole and to the letter, or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.signer.config import CONFIG_MAXIMUM, DESCRIPTOR_MAXIMUM, USER_MAXIMUM, Config, ConfigError, read_config

GOOD: dict[str, Any] = {
    "folder": "/var/lib/strongroom/signer", "identity": 3, "engine": 4, "admin": 5, "link": 6, "engine_user": 0,
    "admin_user": USER_MAXIMUM,
}


def read(path: Path, document: Any) -> Config:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_config(str(path))


def test_it_is_what_the_file_says(tmp_path: Path) -> None:
    config = read(tmp_path / "signer.json", GOOD)
    assert config == Config("/var/lib/strongroom/signer", 3, 4, 5, 6, 0, USER_MAXIMUM)
    assert read(tmp_path / "signer.json", GOOD | {"token": "/etc/token.json"}).token == "/etc/token.json"


@pytest.mark.parametrize(("document", "reason"), [
    ("{", "JSON"),
    ("[]", "must be a JSON object"),
    ('{"folder":"a","folder":"b"}', "folder"),
    (GOOD | {"database": "postgresql://"}, "database: is unknown"),
    ({name: value for name, value in GOOD.items() if name != "link"}, "link: is missing"),
    (GOOD | {"folder": ""}, "folder: must be a string"),
    (GOOD | {"engine": "4"}, "engine: must be an integer"),
    (GOOD | {"identity": 2}, "identity: must be an integer from 3"),
    (GOOD | {"admin": DESCRIPTOR_MAXIMUM + 1}, "admin: must be an integer from 3"),
    (GOOD | {"engine_user": -1}, "engine_user: must be an integer from 0"),
    (GOOD | {"admin_user": USER_MAXIMUM + 1}, "admin_user: must be an integer from 0"),
    (GOOD | {"engine": True}, "engine: must be an integer"),
    (GOOD | {"token": 7}, "token: must be a string"),
])
def test_what_is_wrong_is_named_with_its_file_and_field(tmp_path: Path, document: Any, reason: str) -> None:
    path = tmp_path / "signer.json"
    with pytest.raises(ConfigError) as fault:
        read(path, document)
    assert str(path) in str(fault.value)
    assert reason in str(fault.value)


def test_a_file_of_the_longest_length_is_read_and_one_byte_more_isnt(tmp_path: Path) -> None:
    path = tmp_path / "signer.json"
    text = json.dumps(GOOD)
    assert read(path, text + " " * (CONFIG_MAXIMUM - len(text))) == read(path, text)
    with pytest.raises(ConfigError, match=f"has more than {CONFIG_MAXIMUM} bytes"):
        read(path, text + " " * (CONFIG_MAXIMUM - len(text) + 1))


def test_a_link_in_place_of_the_file_isnt_followed(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text(json.dumps(GOOD))
    (tmp_path / "signer.json").symlink_to(tmp_path / "real.json")
    assert read_config(str(tmp_path / "real.json")).identity == 3
    with pytest.raises(ConfigError, match=r"signer\.json"):
        read_config(str(tmp_path / "signer.json"))


def test_a_missing_file_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_config(str(tmp_path / "signer.json"))
