"""Guard's configuration: what is wrong is named by its field."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from strongroom.guard.config import Config, ConfigError, Node, Tls, read_config

TLS = {"certificate_file": "/c.pem", "key_file": "/k.pem", "peer_file": "/p.pem"}
NODE = {"url": "http://127.0.0.1:28002", "genesis": "cd" * 32}
REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
BITCOIN = {**NODE, "genesis": REGTEST.removeprefix("bip122:") + "00" * 16, "cookie_file": "/run/.cookie"}
GOOD: dict[str, Any] = {
    "folder": "/store", "marker_file": "/marker", "key_file": "/guard.key", "genesis_hash": "ab" * 32,
    "signer_listen": "127.0.0.1:28000", "officers_listen": "127.0.0.1:28001",
}


def read(tmp_path: Path, document: object) -> Config:
    file = tmp_path / "guard.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_config(file)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD) == Config(**GOOD)
    more = {"signer_tls": TLS, "officers_tls": {**TLS, "peer_file": None}, "requests_per_second": 7}
    assert read(tmp_path, GOOD | more) == Config(
        **GOOD, signer_tls=Tls(**TLS), officers_tls=Tls("/c.pem", "/k.pem"), requests_per_second=7,
    )


def test_a_node_is_on_this_machine_or_its_certificate_is_verified(tmp_path: Path) -> None:
    near = read(tmp_path, GOOD | {"nodes": {"sim:sandbox": NODE}}).nodes["sim:sandbox"]
    assert near == Node("127.0.0.1", 28002, None, "cd" * 32)
    far = read(tmp_path, GOOD | {"nodes": {"sim:sandbox": {**NODE, "url": "https://node.example:443"}}})
    tls = far.nodes["sim:sandbox"].tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_bitcoin_node_has_a_cookies_file(tmp_path: Path) -> None:
    node = read(tmp_path, GOOD | {"nodes": {REGTEST: BITCOIN}}).nodes[REGTEST]
    assert node == Node("127.0.0.1", 28002, None, BITCOIN["genesis"], "/run/.cookie")


def test_an_evm_node_has_its_url_and_the_first_block(tmp_path: Path) -> None:
    node = read(tmp_path, GOOD | {"nodes": {"eip155:1": NODE}}).nodes["eip155:1"]
    assert node == Node("127.0.0.1", 28002, None, "cd" * 32)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"folder": ""}, "folder"),
        ({"folder": 1}, "folder"),
        ({"genesis_hash": "AB" * 32}, "genesis_hash"),
        ({"requests_per_second": 0}, "requests_per_second"),
        ({"requests_per_second": 10_001}, "requests_per_second"),
        ({"signer_tls": {}}, "signer_tls.certificate_file"),
        ({"officers_tls": {**TLS, "more": 1}}, "officers_tls.more"),
        ({"signer_tls": []}, "signer_tls"),
        ({"database_url": "x"}, "database_url"),
        ({"nodes": {"bip122:0": NODE}}, "nodes.bip122:0.genesis"),
        ({"nodes": {"eip155:01": NODE}}, "nodes.eip155:01.genesis"),
        ({"nodes": {"eip155:1": {**NODE, "cookie_file": "/c"}}}, "nodes.eip155:1.cookie_file"),
        ({"nodes": {REGTEST: {**BITCOIN, "genesis": "cd" * 32}}}, f"nodes.{REGTEST}.genesis"),
        ({"nodes": {REGTEST: {**BITCOIN, "url": "http://10.0.0.1:80"}}}, f"nodes.{REGTEST}.url"),
        ({"nodes": {REGTEST: {**BITCOIN, "cookie_file": None}}}, f"nodes.{REGTEST}.cookie_file"),
        ({"nodes": {"sim:sandbox": {**NODE, "cookie_file": "/c"}}}, "nodes.sim:sandbox.cookie_file"),
        ({"nodes": {"sim:sandbox": {**NODE, "url": "http://10.0.0.1:80"}}}, "nodes.sim:sandbox.url"),
        ({"nodes": {"sim:sandbox": {**NODE, "url": "http://127.0.0.1"}}}, "nodes.sim:sandbox.url"),
        ({"nodes": {"sim:sandbox": {**NODE, "url": "http://127.0.0.1:1/x"}}}, "nodes.sim:sandbox.url"),
        ({"nodes": {"sim:sandbox": {**NODE, "genesis": "ab"}}}, "nodes.sim:sandbox.genesis"),
        ({"nodes": {"sim:sandbox": {**NODE, "more": 1}}}, "nodes.sim:sandbox.more"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], field: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"guard.json: {field}: "):
        read(tmp_path, GOOD | changes)


@pytest.mark.parametrize("text", ["", "[]", '{"folder": "a", "folder": "b"}', '{"requests_per_second": 1.0}'])
def test_what_is_no_strict_json_object_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"guard\.json"):
        read(tmp_path, text)
