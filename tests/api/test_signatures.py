"""Only what an enrolled key signed, as it stands and lately, is acted on; every other request changes nothing."""

import base64
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.api.raw import exchange, head, read_answer, signed_bytes
from tests.api.server import DEPLOYMENT, ApiProcess, Owner, api_process
from tests.api.signer import JSON, Profile, Unsigned, content_digest, sign
from tests.api.world import Organisation, create_world, declaration, fresh_id, fresh_key, payout, refused

from strongroom.sdk.signing import Credentials
from strongroom.sdk.signing import sign as sdk_sign
from strongroom.store.postgres import Cluster

BODY = b'{"name":"Ada Example","destination":{"network":"eip155:31337","address":"%s"}}'
Bend = Callable[[list[tuple[str, str]]], list[tuple[str, str]]]


def declare(world: Organisation) -> Unsigned:
    address = b"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    return Unsigned("POST", "/v1/beneficiaries", "", BODY % address, JSON, fresh_key())


def changed(name: str, value: str) -> Bend:
    return lambda covered: [(each, value if each == name else was) for each, was in covered]


def swapped(covered: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [covered[1], covered[0], *covered[2:]]


def test_the_signer_of_these_tests_and_the_sdks_agree(world: Organisation) -> None:
    profile = replace(world.declarer.profile, created_s=1_800_000_000)
    request = declare(world)
    seed = profile.private_key.private_bytes_raw()
    from nacl.signing import SigningKey

    credentials = Credentials(world.id, world.declarer.client_id, profile.key_id, profile.deployment, SigningKey(seed))
    theirs = sdk_sign(
        credentials, "POST", profile.authority, request.path, "", request.body, request.idempotency_key,
        clock=lambda: 1_800_000_000,
    )
    assert theirs == sign(request, profile)


COVERED = {
    "the method": changed("@method", "PUT"),
    "the authority": changed("@authority", "api.example"),
    "the path": changed("@path", "/v1/payouts"),
    "the query": changed("@query", "?a=b"),
    "the content type": changed("content-type", "text/csv"),
    "the digest": changed("content-digest", content_digest(b"{}")),
    "the idempotency key": changed("idempotency-key", "other"),
    "the order": swapped,
}


@pytest.mark.parametrize("bend", COVERED.values(), ids=COVERED.keys())
def test_a_signature_over_something_else_is_refused(world: Organisation, bend: Bend) -> None:
    request, before = declare(world), world.owner.counts()
    answer = world.declarer.send(request, sign(request, world.declarer.profile, bend))
    refused(answer, "signature_invalid")
    assert world.owner.counts() == before
    assert world.declarer.send(request).status_code == 201  # the same, signed as it stands


def now_s(seconds: int) -> int:
    return int(time.time()) + seconds


PROFILES: dict[str, Callable[[Profile], Profile]] = {
    **{f"without {name}": lambda profile, name=name: profile.but(without=(name,))  # type: ignore[misc]  # bound at once
       for name in ("@method", "@authority", "@path", "@query", "content-type", "content-digest", "idempotency-key")},
    "another algorithm": lambda profile: profile.but(algorithm="rsa-pss-sha512"),
    "no algorithm": lambda profile: profile.but(algorithm=""),
    "HMAC with the public key's name": lambda profile: profile.but(algorithm="hmac-sha256"),
    "another label": lambda profile: profile.but(label="sig2"),
    "another tag": lambda profile: profile.but(tag="payouts/1"),
    "another deployment": lambda profile: profile.but(deployment="fedcba9876543210"),
    "a nonce besides": lambda profile: profile.but(extra=';nonce="1"'),
    "an unknown key": lambda profile: profile.but(key_id=fresh_id("ak_")),
    "no key": lambda profile: profile.but(key_id=""),
    "somebody else's private key": lambda profile: profile.but(private_key=Ed25519PrivateKey.generate()),
    "expired": lambda profile: profile.but(created_s=now_s(-200), life_s=100),
    "of tomorrow": lambda profile: profile.but(created_s=now_s(86_400)),
    "of two minutes from now": lambda profile: profile.but(created_s=now_s(120)),
    "alive for 301 s": lambda profile: profile.but(life_s=301),
    "ended before it began": lambda profile: profile.but(life_s=-5),
    "alive for no time": lambda profile: profile.but(life_s=0),
    "another authority": lambda profile: profile.but(authority="localhost:1"),
}


@pytest.mark.parametrize("bend", PROFILES.values(), ids=PROFILES.keys())
def test_a_signature_that_isnt_of_the_profile_is_refused(
    world: Organisation, bend: Callable[[Profile], Profile]
) -> None:
    request, before = declare(world), world.owner.counts()
    answer = world.declarer.send(request, sign(request, bend(world.declarer.profile)))
    refused(answer, "signature_invalid")
    assert world.owner.counts() == before


def test_an_honest_clock_may_be_off_by_half_a_minute_and_a_signature_lives_300_s(world: Organisation) -> None:
    for created, life in ((now_s(30), 120), (now_s(-30), 120), (now_s(0), 300)):
        request = declare(world)
        profile = world.declarer.profile.but(created_s=created, life_s=life)
        assert world.declarer.send(request, sign(request, profile)).status_code == 201


HEADERS: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "another body's digest": lambda headers: {**headers, "Content-Digest": content_digest(b"x")},
    "another content type": lambda headers: {**headers, "Content-Type": "text/csv"},
    "another idempotency key": lambda headers: {**headers, "Idempotency-Key": "other"},
    "a content type in capitals": lambda headers: {**headers, "Content-Type": "Application/JSON"},
    "sha-512 besides": lambda headers: {**headers, "Content-Digest": headers["Content-Digest"] + ", sha-512=:AA==:"},
    "one bit of the signature": lambda headers: {**headers, "Signature": _bit(headers["Signature"])},
    "an empty signature": lambda headers: {**headers, "Signature": "sig1=::"},
    "a signature of zeros": lambda headers: {
        **headers, "Signature": f"sig1=:{base64.b64encode(bytes(64)).decode()}:"},
    "two signatures": lambda headers: {**headers, "Signature": headers["Signature"] + ", sig2=:AA==:"},
    "an input that is no such thing": lambda headers: {**headers, "Signature-Input": "sig1=();"},
    "an input of the key alone": lambda headers: {
        **headers, "Signature-Input": "sig1=" + headers["Signature-Input"].partition(")")[2]},
}


def _bit(signature: str) -> str:
    raw = bytearray(base64.b64decode(signature[6:-1]))
    raw[10] ^= 1
    return f"sig1=:{base64.b64encode(bytes(raw)).decode()}:"


@pytest.mark.parametrize("bend", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_were_changed_on_the_way_are_refused(
    world: Organisation, bend: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    request, before = declare(world), world.owner.counts()
    answer = world.declarer.send(request, bend(sign(request, world.declarer.profile)))
    refused(answer, "signature_invalid")
    assert world.owner.counts() == before


def test_a_body_swapped_after_signing_is_refused(world: Organisation) -> None:
    request, before = declare(world), world.owner.counts()
    headers = sign(request, world.declarer.profile)
    other = replace(request, body=request.body.replace(b"Ada", b"Eve"))
    refused(world.declarer.send(other, headers), "signature_invalid")
    # and with the digest made to fit, the signature doesn't
    refused(world.declarer.send(other, {**headers, "Content-Digest": content_digest(other.body)}), "signature_invalid")
    assert world.owner.counts() == before


def test_a_signed_request_is_worth_nothing_on_another_path_or_method(world: Organisation) -> None:
    to = world.declared()
    request = Unsigned("POST", "/v1/payouts/preview", "", b"{}", JSON, fresh_key())
    headers = sign(request, world.payer.profile)
    refused(world.payer.send(replace(request, path="/v1/payouts"), headers), "signature_invalid")
    read = Unsigned("GET", f"/v1/beneficiaries/{to['id']}")
    headers = sign(read, world.payer.profile)
    assert world.payer.send(read, headers).status_code == 200
    refused(world.payer.send(replace(read, path="/v1/balances"), headers), "signature_invalid")
    refused(world.payer.send(replace(read, query="a=b"), headers), "signature_invalid")


@pytest.mark.parametrize("left_out", ["Signature", "Signature-Input", "both"])
def test_a_request_without_a_signature_is_refused(world: Organisation, left_out: str) -> None:
    request, before = declare(world), world.owner.counts()
    headers = sign(request, world.declarer.profile)
    kept = {name: value for name, value in headers.items()
            if name != left_out and not (left_out == "both" and name.startswith("Signature"))}
    answer = world.declarer.send(request, kept)
    refused(answer, "signature_missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="strongroom"'
    components = sign(request, world.declarer.profile)["Signature-Input"].partition(";")[0]
    asked = answer.headers["accept-signature"]
    assert asked == f'{components};created;expires;keyid;alg="ed25519";tag="strongroom/1/{DEPLOYMENT}"'
    assert world.owner.counts() == before


@pytest.mark.parametrize("name", ["Content-Type", "Content-Digest"])
def test_a_header_that_must_be_covered_must_be_there(world: Organisation, name: str) -> None:
    request = declare(world)
    headers = sign(request, world.declarer.profile)
    del headers[name]
    answer = exchange(world.declarer.api, head(request, world.declarer.api.authority, [
        *headers.items(), ("Content-Length", str(len(request.body)))]) + request.body)
    assert (answer.status, answer.json()["code"]) == (401, "signature_invalid")


def test_a_key_in_the_header_that_isnt_covered_is_refused(world: Organisation) -> None:
    request, before = replace(declare(world), idempotency_key=None), world.owner.counts()
    headers = sign(request, world.declarer.profile)
    refused(world.declarer.send(request, {**headers, "Idempotency-Key": "k"}), "signature_invalid")
    refused(world.declarer.send(request, headers), "idempotency_key_required", "Idempotency-Key")
    assert world.owner.counts() == before


DUPLICATES = ["Signature", "Signature-Input", "Content-Type", "Content-Digest", "Idempotency-Key", "Authorization",
              "Host", "signature"]


@pytest.mark.parametrize("name", DUPLICATES)
def test_a_header_that_matters_may_not_stand_there_twice(world: Organisation, name: str) -> None:
    request, before = declare(world), world.owner.counts()
    headers = {key.lower(): value for key, value in sign(request, world.declarer.profile).items()}
    more = [(name, headers.get(name.lower(), world.declarer.api.authority))]
    if name == "Authorization":
        more = [(name, "Bearer a"), (name, "Bearer b")]
    answer = exchange(world.declarer.api, signed_bytes(request, world.declarer.profile, *more))
    assert (answer.status, answer.json()["code"]) == (401, "signature_invalid")
    assert name.lower() in answer.json()["detail"]
    assert world.owner.counts() == before


def test_a_signed_post_has_no_query_however_it_is_spelled(world: Organisation) -> None:
    before = world.owner.counts()
    for query in ("a=b", "&", "&&", "=", "limit=1"):
        request = replace(declare(world), query=query)
        refused(world.declarer.send(request), "invalid", "?")
    assert world.owner.counts() == before


def test_a_get_has_no_body(world: Organisation) -> None:
    request = Unsigned("GET", "/v1/balances")
    answer = world.payer.send(replace(request, body=b"{}"), sign(request, world.payer.profile))
    refused(answer, "signature_invalid")


def test_a_bearer_reads_and_does_nothing_else(world: Organisation, http: httpx.Client) -> None:
    bearer, before = {"Authorization": f"Bearer {world.bearer}"}, world.owner.counts()
    assert http.get("/v1/payouts", headers=bearer).status_code == 200
    assert http.get("/v1/payouts", headers={"Authorization": f"bearer {world.bearer}"}).status_code == 200
    refused(http.get("/v1/payouts"), "signature_missing")
    for wrong in ("Bearer srb_no", "Bearer", f"Basic {world.bearer}", world.bearer, "Bearer " + "x" * 300):
        refused(http.get("/v1/payouts", headers={"Authorization": wrong}), "signature_invalid")
    for path in ("/v1/payouts", "/v1/payouts/preview", "/v1/beneficiaries"):
        refused(http.post(path, headers={**bearer, "Content-Type": JSON}, content=b"{}"), "signature_missing")
    assert world.owner.counts() == before


def test_a_revoked_key_is_refused_on_its_next_request(api: ApiProcess, owner: Owner, http: httpx.Client) -> None:
    """The attacker has a client's key and uses it all the time; the key is revoked between two of its requests."""
    world = create_world(api, owner, http)
    to = world.declared()
    body, key = payout(to), fresh_key()
    assert world.payer.post("/v1/payouts", body, key).status_code == 201
    assert world.payer.get("/v1/payouts").status_code == 200
    revoke(owner, world.payer.profile.key_id)
    before = owner.counts()
    refused(world.payer.get("/v1/payouts"), "key_revoked")
    refused(world.payer.post("/v1/payouts", body, key), "key_revoked")  # a replay
    refused(world.payer.post("/v1/payouts", {**body, "amount": "2"}, key), "key_revoked")  # a key used for another
    refused(world.payer.post("/v1/payouts", payout(to), fresh_key()), "key_revoked")
    refused(world.payer.post("/v1/payouts", b"{", fresh_key()), "key_revoked")
    refused(world.payer.post("/v1/payouts/preview", payout(to)), "key_revoked")
    refused(world.payer.post("/v1/payout-runs", {"items": [{"idempotency_key": "k", **payout(to)}]}, fresh_key()),
            "key_revoked")
    refused(world.payer.post(f"/v1/payouts/{'po_' + 'a' * 26}/cancel", {"idempotency_key": key}, fresh_key()),
            "key_revoked")
    assert world.declarer.post("/v1/beneficiaries", declaration(), fresh_key()).status_code == 201
    revoke(owner, world.declarer.profile.key_id)
    refused(world.declarer.post("/v1/beneficiaries", declaration(), fresh_key()), "key_revoked")
    after = owner.counts()
    assert {name: after[name] - before[name] for name in ("payouts", "runs", "cancel_requests")} == {
        "payouts": 0, "runs": 0, "cancel_requests": 0}
    assert after["beneficiaries"] == before["beneficiaries"] + 1


def test_a_revoked_bearer_is_refused_on_its_next_request(api: ApiProcess, owner: Owner, http: httpx.Client) -> None:
    world = create_world(api, owner, http)
    bearer = {"Authorization": f"Bearer {world.bearer}"}
    assert http.get("/v1/payouts", headers=bearer).status_code == 200
    key_id = owner.value(
        "SELECT b.key_id FROM strongroom.bearer_keys b JOIN strongroom.clients c ON c.id = b.client "
        "WHERE c.organisation = $1", world.id)
    revoke(owner, key_id)
    refused(http.get("/v1/payouts", headers=bearer), "key_revoked")


def revoke(owner: Owner, key_id: str) -> None:
    owner.execute("INSERT INTO strongroom.key_revocations VALUES ($1, 1)", key_id)


def test_a_key_may_be_used_from_its_own_addresses_only(api: ApiProcess, owner: Owner, http: httpx.Client) -> None:
    elsewhere = create_world(api, owner, http, allowed=("10.0.0.0/8", "2001:db8::/32"))
    refused(elsewhere.payer.get("/v1/payouts"), "address_not_allowed")
    here = create_world(api, owner, http, allowed=("10.0.0.0/8", "127.0.0.0/8"))
    assert here.payer.get("/v1/payouts").status_code == 200
    forwarded = sign(Unsigned("GET", "/v1/payouts"), elsewhere.payer.profile)
    answer = http.get("/v1/payouts", headers={**forwarded, "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"})
    refused(answer, "address_not_allowed")


def test_smuggled_and_broken_requests_reach_nothing(world: Organisation) -> None:
    api, before = world.declarer.api, world.owner.counts()
    request = declare(world)
    headers = [*sign(request, world.declarer.profile).items()]
    length = ("Content-Length", str(len(request.body)))
    chunked = b"0\r\n\r\n" + signed_bytes(declare(world), world.declarer.profile)
    both = head(request, api.authority, [*headers, length, ("Transfer-Encoding", "chunked")])
    for raw in (
        both + chunked,
        head(request, api.authority, [*headers, length, ("Content-Length", "0")]) + request.body,
        head(request, api.authority, [*headers, ("Content-Length", "-1")]) + request.body,
        head(request, api.authority, [*headers, ("Content-Length", "1e3")]) + request.body,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET / HTTP/1.1\r\nA" + b"\0" * 10 + b": b\r\n\r\n",
        b"GET  /v1/payouts HTTP/9.9\r\n\r\n",
    ):
        answer = exchange(api, raw)
        assert answer.status in (400, 401, 413), answer
        assert answer.json()["code"] in ("malformed", "signature_invalid", "signature_missing", "too_large")
        assert answer.headers["content-type"] == "application/problem+json"
    assert world.owner.counts() == before
    assert world.declarer.send(request).status_code == 201


def test_a_chunked_body_is_read_and_its_size_is_bounded(world: Organisation) -> None:
    api, request = world.declarer.api, declare(world)
    headers = [*sign(request, world.declarer.profile).items(), ("Transfer-Encoding", "chunked")]
    whole = head(request, api.authority, headers) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(request.body), request.body)
    assert exchange(api, whole).status == 201
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = exchange(api, head(request, api.authority, headers), *([chunk] * 20))
    assert (answer.status, answer.json()["code"]) == (413, "too_large")
    assert answer.headers["connection"] == "close"


def test_headers_without_end_are_refused(world: Organisation) -> None:
    """The attacker has a socket and wants our memory and our processor."""
    api, start = world.payer.api, f"GET /v1/payouts HTTP/1.1\r\nHost: {world.payer.api.authority}\r\n".encode()
    for more in ((b"A: " + b"x" * 65_536,) * 20, (b"A: b\r\n" * 10_000,) * 50):
        answer = exchange(api, start, *more)
        assert (answer.status, answer.json()["code"]) == (413, "too_large")
        assert answer.headers["request-id"] == answer.json()["request_id"]
    line = exchange(api, b"GET /v1/payouts?", *((b"x" * 65_536,) * 20))
    assert (line.status, line.json()["code"]) == (413, "too_large")
    assert exchange(api, start + b"A: " + b"x" * 30_000 + b"\r\n\r\n").status == 401


def test_slow_headers_are_given_up_however_busy_they_look(world: Organisation) -> None:
    started = time.monotonic()
    answer = exchange(world.payer.api, b"GET /v1/payouts HTTP/1.1\r\n", *([b"A: b\r\n"] * 8), pause_s=0.25)
    assert (answer.status, answer.json()["code"]) == (408, "timeout")
    assert time.monotonic() - started < 10
    host, port = world.payer.api.authority.split(":")
    with socket.create_connection((host, int(port)), 10) as silent:
        assert silent.recv(1) == b""  # who says nothing is told nothing


def test_a_connection_is_kept_for_many_requests(world: Organisation) -> None:
    host, port = world.payer.api.authority.split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        for pause in (0.0, 0.0, 1.8):  # longer than headers may take: it waits for none
            time.sleep(pause)
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_answer(connection).status == 200


def test_connections_above_the_maximum_are_told_to_come_again(postgres_cluster: Cluster, tmp_path: Path) -> None:
    alive = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
    with api_process(postgres_cluster, tmp_path, "api_full", connections_maximum=4) as (api, _), ExitStack() as kept:
        host, port = api.authority.split(":")

        def connect() -> socket.socket:
            return kept.enter_context(socket.create_connection((host, int(port)), 10))

        held: list[socket.socket] = []
        for _ in range(100):  # the one that asked whether it is ready may not have gone yet
            connection = connect()
            connection.sendall(alive)
            held += [connection] if read_answer(connection).status == 200 else []
            if len(held) == 4:
                break
        answer = read_answer(connect())
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        held[0].sendall(alive)
        assert read_answer(held[0]).status == 200  # who is in stays in
        held[1].close()
        assert any(api.ready() for _ in range(100))  # there is room again


def test_a_slow_body_is_given_up(world: Organisation) -> None:
    request = declare(world)
    whole = signed_bytes(request, world.declarer.profile)
    started = time.monotonic()
    answer = exchange(world.declarer.api, whole[:-10], pause_s=0)
    assert (answer.status, answer.json()["code"]) == (408, "timeout")
    assert 1.0 < time.monotonic() - started < 10
    assert answer.headers["connection"] == "close"
