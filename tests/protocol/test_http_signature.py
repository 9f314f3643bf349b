"""Signed requests: the profile of RFC 9421 against its own example, another implementation, and forgers."""

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey
from tests.protocol.vectors import load

from strongroom.domain.ids import parse_key_id
from strongroom.domain.instant import Instant
from strongroom.protocol.http_signature import (
    SignedRequest,
    UnsignedError,
    check_signature,
    parse_signature,
    sign_request,
    signature_base,
)
from strongroom.protocol.signature_base import SignatureError, content_digest, holds

KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)
KEY_ID = parse_key_id("ak_" + "a" * 26)
DEPLOYMENT = "0123456789abcdef"
BODY = b'{"amount":"125000"}'
CREATED_S = 1_795_500_000
NOW = Instant(CREATED_S * 1_000 + 500)

POST = SignedRequest(
    method="POST", authority="127.0.0.1:8420", path="/v1/payouts", query="?", content_type="application/json",
    content_digest=content_digest(BODY), idempotency_key="trip-4711", signature_input=None, signature=None,
)
UNKEYED = replace(POST, idempotency_key=None)
GET = replace(POST, method="GET", query="?limit=5", content_type=None, content_digest=None, idempotency_key=None)


def sign(
    request: SignedRequest, key: SigningKey = KEY, deployment: str = DEPLOYMENT, life_s: int = 300
) -> SignedRequest:
    signature_input, signature = sign_request(request, KEY_ID, key, deployment, CREATED_S, life_s)
    return replace(request, signature_input=signature_input, signature=signature)


def check(request: SignedRequest, body: bytes = BODY, now: Instant = NOW, public_key: bytes = PUBLIC) -> None:
    signature = parse_signature(request, DEPLOYMENT)
    check_signature(signature, request, body, now)
    if not holds(signature.base, signature.signature, public_key):
        raise SignatureError("the signature isn't that of this request by this key")


def test_the_published_example_has_this_base_and_signature() -> None:
    published = load("protocol_http_signature.json")
    public_key = base64.b64decode(published["public_key_spki"])[-32:]
    base = signature_base([(name, value) for name, value in published["components"]], published["parameters"])
    VerifyKey(public_key).verify(base, base64.b64decode(published["signature"]))


def test_the_published_digests_are_these() -> None:
    """RFC 9421 §B.2 and RFC 9530 §B.1: with and without a line feed."""
    assert content_digest(b'{"hello": "world"}') == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    assert content_digest(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


@pytest.mark.parametrize("moved", [-1, 1, 64])
def test_bytes_moved_between_a_signature_and_its_base_are_noticed(moved: int) -> None:
    """The attacker has a request that was signed, and wants another base to hold: the two together are the same bytes.

    A verifier that looks at both together says yes to all of these.
    """
    base = parse_signature(sign(POST), DEPLOYMENT).base
    whole = KEY.sign(base).signature + base
    assert VerifyKey(PUBLIC).verify(whole) == base
    assert holds(whole[64:], whole[:64], PUBLIC)
    assert not holds(whole[64 + moved :], whole[: 64 + moved], PUBLIC)


@pytest.mark.parametrize(
    "request_", [POST, UNKEYED, replace(POST, method="DELETE")], ids=["keyed", "unkeyed", "delete"]
)
def test_a_signed_write_holds(request_: SignedRequest) -> None:
    signed = sign(request_)
    check(signed)
    signature = parse_signature(signed, DEPLOYMENT)
    assert (signature.key_id, signature.created, signature.expires) == (
        KEY_ID, CREATED_S * 1_000, (CREATED_S + 300) * 1_000,
    )


def test_the_base_of_a_write_is_this_text() -> None:
    digest = content_digest(BODY)
    assert parse_signature(sign(POST), DEPLOYMENT).base.decode() == (
        '"@method": POST\n"@authority": 127.0.0.1:8420\n"@path": /v1/payouts\n"@query": ?\n'
        f'"content-type": application/json\n"content-digest": {digest}\n"idempotency-key": trip-4711\n'
        '"@signature-params": ("@method" "@authority" "@path" "@query" "content-type" "content-digest" '
        f'"idempotency-key");created={CREATED_S};expires={CREATED_S + 300};keyid="{KEY_ID}";alg="ed25519";'
        f'tag="strongroom/1/{DEPLOYMENT}"'
    )


def test_a_signed_read_holds_and_has_no_body() -> None:
    check(sign(GET), b"")
    with pytest.raises(SignatureError, match="a GET has no body"):
        check(sign(GET), b"{}")


class Resolver(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(PUBLIC)

    def resolve_private_key(self, key_id: str) -> None:
        raise NotImplementedError("it only verifies")


class OtherVerifier(HTTPMessageVerifier):
    """The other implementation, with its clock taken out."""

    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        return None


class Message:
    """A request as `http_message_signatures` wants it."""

    def __init__(self, request: SignedRequest) -> None:
        self.method = request.method
        self.url = f"http://{request.authority}{request.path}{request.query if request.query != '?' else ''}"
        named = {
            "Content-Type": request.content_type, "Content-Digest": request.content_digest,
            "Idempotency-Key": request.idempotency_key, "Signature-Input": request.signature_input,
            "Signature": request.signature,
        }
        self.headers: dict[str, str] = {name: value for name, value in named.items() if value is not None}


def components(request: SignedRequest) -> tuple[str, ...]:
    covered = ("@method", "@authority", "@path", "@query")
    if request.method == "GET":
        return covered
    return (*covered, "content-type", "content-digest", *(("idempotency-key",) if request.idempotency_key else ()))


@pytest.mark.parametrize("request_", [POST, UNKEYED, GET], ids=["keyed", "unkeyed", "get"])
def test_another_implementation_verifies_what_we_sign(request_: SignedRequest) -> None:
    verifier = OtherVerifier(signature_algorithm=algorithms.ED25519, key_resolver=Resolver())
    (result,) = verifier.verify(Message(sign(request_)))
    assert result.parameters["tag"] == f"strongroom/1/{DEPLOYMENT}"
    assert tuple(name.strip('"') for name in result.covered_components if "params" not in name) == components(request_)


def with_input(request: SignedRequest, old: str, new: str) -> SignedRequest:
    return replace(request, signature_input=(request.signature_input or "").replace(old, new))


CHANGES: dict[str, Callable[[SignedRequest], SignedRequest]] = {
    "method": lambda request: replace(request, method="PUT"),
    "authority": lambda request: replace(request, authority="127.0.0.1:8421"),
    "path": lambda request: replace(request, path="/v1/payouts/preview"),
    "query": lambda request: replace(request, query="?x=1"),
    "content-type": lambda request: replace(request, content_type="text/csv"),
    "content-digest": lambda request: replace(request, content_digest=content_digest(b"{}")),
    "idempotency-key": lambda request: replace(request, idempotency_key="trip-4712"),
    "key id": lambda request: with_input(request, "ak_a", "ak_b"),
    "created": lambda request: with_input(request, f"created={CREATED_S}", f"created={CREATED_S - 1}"),
    "expires": lambda request: with_input(request, f"expires={CREATED_S + 300}", f"expires={CREATED_S + 299}"),
    "no key": lambda request: replace(request, idempotency_key=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_component_breaks_the_signature(change: Callable[[SignedRequest], SignedRequest]) -> None:
    """The attacker has a signed request and wants another one; the bound is 401."""
    with pytest.raises(SignatureError) as refusal:
        check(change(sign(POST)))
    assert type(refusal.value) is SignatureError


def test_another_body_breaks_the_signature() -> None:
    with pytest.raises(SignatureError, match="isn't the SHA-256 of this body"):
        check(sign(POST), BODY + b" ")


def test_another_key_breaks_the_signature() -> None:
    with pytest.raises(SignatureError, match="by this key"):
        check(sign(POST), public_key=bytes(SigningKey(bytes(32)).verify_key))
    with pytest.raises(SignatureError, match="by this key"):
        check(sign(POST), public_key=b"short")


def test_an_idempotency_key_must_be_covered() -> None:
    """Added by someone on the way: the header is there, and the signature doesn't cover it."""
    with pytest.raises(SignatureError, match=r"must cover exactly: .*idempotency-key"):
        check(replace(sign(UNKEYED), idempotency_key="added"))


@pytest.mark.parametrize("other", ["fedcba9876543210", DEPLOYMENT + "0", DEPLOYMENT[:-1], ""])
def test_a_request_for_another_deployment_is_refused(other: str) -> None:
    with pytest.raises(SignatureError, match="the tag must be"):
        check(sign(POST, deployment=other))


@pytest.mark.parametrize(
    ("life_s", "now", "reason"),
    [
        (301, NOW, "1 to 300 s"),
        (0, NOW, "1 to 300 s"),
        (300, Instant((CREATED_S + 300) * 1_000), "has expired"),
        (300, Instant(CREATED_S * 1_000 - 60_001), "in the future"),
    ],
)
def test_times_outside_of_the_window_are_refused(life_s: int, now: Instant, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        check(sign(POST, life_s=life_s), now=now)


def test_times_at_the_edge_of_the_window_hold() -> None:
    check(sign(POST), now=Instant((CREATED_S + 300) * 1_000 - 1))
    check(sign(POST), now=Instant(CREATED_S * 1_000 - 60_000))
    check(sign(POST, life_s=1))


@pytest.mark.parametrize("missing", ["signature_input", "signature"])
def test_a_request_without_signature_is_unsigned(missing: str) -> None:
    with pytest.raises(UnsignedError) as refusal:
        parse_signature(replace(sign(POST), **{missing: None}), DEPLOYMENT)
    assert type(refusal.value) is UnsignedError


@pytest.mark.parametrize("missing", ["content_type", "content_digest"])
def test_a_write_needs_the_headers_that_are_covered(missing: str) -> None:
    with pytest.raises(SignatureError, match="is needed"):
        parse_signature(replace(sign(POST), **{missing: None}), DEPLOYMENT)


@pytest.mark.parametrize("field", ["method", "authority", "path", "query", "content_type", "idempotency_key"])
@pytest.mark.parametrize("value", ["\u00e9", "a\nb", 'x\r\n"@path": /v1', "\x7f"])
def test_values_outside_of_printable_ascii_are_refused(field: str, value: str) -> None:
    with pytest.raises(SignatureError, match="printable ASCII"):
        parse_signature(replace(sign(POST), **{field: value}), DEPLOYMENT)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "another label": lambda text: text.replace("sig1=", "sig2="),
    "two labels": lambda text: text + ", " + text.replace("sig1", "sig2"),
    "upper-case component": lambda text: text.replace('"content-type"', '"Content-Type"'),
    "component parameter": lambda text: text.replace('"content-type"', '"content-type";sf'),
    "another algorithm": lambda text: text.replace("ed25519", "hmac-sha256"),
    "no algorithm": lambda text: text.replace(';alg="ed25519"', ""),
    "no expiry": lambda text: text.replace(f";expires={CREATED_S + 300}", ""),
    "no tag": lambda text: text[: text.index(";tag")],
    "nonce": lambda text: text.replace(";alg", ';nonce="n";alg'),
    "another order": lambda text: text.replace(';alg="ed25519"', "") + ';alg="ed25519"',
    "spaces": lambda text: text.replace(";created", "; created"),
    "negative": lambda text: text.replace("created=", "created=-"),
    "fraction": lambda text: text.replace(";expires", ".0;expires"),
    "other digits": lambda text: text.replace("created=1", "created=\u0661"),
    "foreign key id": lambda text: text.replace("ak_", "srb_"),
    "trailing": lambda text: text + ";x",
    "fewer components": lambda text: text.replace(' "@query"', ""),
    "swapped components": lambda text: text.replace('"@path" "@query"', '"@query" "@path"'),
    "repeated component": lambda text: text.replace('"@query"', '"@query" "@query"'),
    "more components": lambda text: text.replace('"idempotency-key"', '"idempotency-key" "date"'),
    "trailing space": lambda text: text.replace('"idempotency-key"', '"idempotency-key" '),
    "joined components": lambda text: text.replace('"@path" "@query"', '"@path""@query"'),
    "empty": lambda text: "",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_only_one_spelling_of_the_input_is_taken(spelling: Callable[[str], str]) -> None:
    """The spelling is refused before any signature is looked at."""
    signed = sign(POST)
    assert signed.signature_input is not None
    spelled = spelling(signed.signature_input)
    assert spelled != signed.signature_input
    with pytest.raises(SignatureError, match=r"spelled|must cover exactly"):
        parse_signature(replace(signed, signature_input=spelled), DEPLOYMENT)


@pytest.mark.parametrize(
    "signature", ["", "sig1=::", "sig2=:" + "A" * 86 + "==:", "sig1=:" + "A" * 85 + "===:", "sig1=:" + "A" * 88 + ":",
                  "sig1=:" + "-" * 86 + "==:", "sig1=:" + "A" * 86 + "==:, sig2=:" + "A" * 86 + "==:"],
)
def test_only_one_spelling_of_the_signature_is_taken(signature: str) -> None:
    with pytest.raises(SignatureError, match="spelled"):
        parse_signature(replace(sign(POST), signature=signature), DEPLOYMENT)


optional_text = st.none() | st.text(max_size=30)


@given(
    st.builds(
        SignedRequest, method=st.sampled_from(["GET", "POST"]) | st.text(max_size=5), authority=st.text(max_size=9),
        path=st.text(max_size=9), query=st.text(max_size=9), content_type=optional_text, content_digest=optional_text,
        idempotency_key=optional_text,
        signature_input=optional_text | st.just(sign(POST).signature_input) | st.just(sign(GET).signature_input),
        signature=optional_text | st.just(sign(POST).signature),
    ),
    st.binary(max_size=40),
)
def test_only_its_own_error_escapes_and_no_stranger_gets_in(request: SignedRequest, body: bytes) -> None:
    with pytest.raises(SignatureError):
        check(request, body)


def test_a_request_that_cannot_be_signed_as_the_profile_asks_is_not_signed() -> None:
    with pytest.raises(SignatureError, match="content-digest is needed"):
        sign(replace(POST, content_digest=None))
