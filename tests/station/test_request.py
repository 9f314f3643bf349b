"""The approval request as the station reads it: the signer's own is taken, and nothing that was altered on the way.

The attacker has the console, or what lies between it and the station, and wants an approval for something else than
the signer will check. The bound is nothing: a request that isn't the signer's to the byte isn't shown at all.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey
from tests.rules.cases import MIDDLE, Run
from tests.signer.world import World
from tests.station.reading import Reader, RefusedError

from strongroom.domain.instant import DAY_MS
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE
from strongroom.protocol.canonical import encode, record_hash
from strongroom.protocol.signer_wire import RECEIPT_TYPE, Ask

CHANGES_SEEN = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Opened:
    """What the signer made, and how the station is asked to open it."""

    def __init__(self, world: World, subject: str, reader: Reader) -> None:
        answer = world.ask(Ask.REQUEST, subject=subject)
        self.raw, self.signature, self._reader = b64decode(answer["request"]), answer["signature"], reader
        self.now = world.times.wall_ms
        self.config = {
            "deployment": world.book.deployment, "statement_public_key": world.store.statement_public_key.hex(),
        }
        self.statement = world.store.statement_sign

    def __call__(self, raw: bytes | None = None, **changes: Any) -> Any:
        """Raises: RefusedError."""
        given = {"signature": self.signature, "config": self.config, "now": self.now, **changes}
        return self._reader("open", raw=self.raw if raw is None else raw, **given)

    def signed(self, document: dict[str, Any], record_type: str = APPROVAL_REQUEST_TYPE) -> Any:
        """As if the signer had written something else. Raises: RefusedError."""
        raw = encode(document)
        return self(raw, signature=self.statement(record_hash(record_type, raw)).hex())

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.raw)
        return document


@pytest.fixture(params=["payout", "run"])
def opened(world: World, reader: Reader, request: pytest.FixtureRequest) -> Opened:
    if request.param == "run":
        return Opened(world, Run(world, [400_000, 500_000]).sealed().id, reader)
    record = world.cooled(name="Zoë & Søn")
    world.pass_by(60_000)
    return Opened(world, world.intent(record, MIDDLE), reader)


def test_the_signers_own_request_is_opened_with_every_field_of_it(opened: Opened) -> None:
    read, said = opened(), opened.document
    names = {"expires": "expires_ms", "freezeEpoch": "freeze_epoch", "externalId": "external_id"}
    found = {names.get(name, name): value for name, value in read.items()}
    if said["kind"] == "run":
        said["totals"] = dict(said["totals"].items())
    assert found == {name: value for name, value in said.items() if name != "type"}


def _leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value, objects and lists included."""
    if path:
        yield path
    inside = dict(enumerate(document)) if isinstance(document, list) else document
    for name, value in inside.items() if isinstance(inside, dict) else ():
        yield from _leaves(value, (*path, name))


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(document))
    inside = copy
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = value
    return copy


OTHERS = (
    st.none() | st.booleans() | st.integers(0, 2**40) | st.text("0123456789abcdefpoe_", max_size=64)
    | st.sampled_from([[], {}])
)


@CHANGES_SEEN
@given(data=st.data())
def test_no_altered_field_is_shown(opened: Opened, data: st.DataObject) -> None:
    """Without the signature's check, what is well formed would be shown: that is the control below."""
    path = data.draw(st.sampled_from(sorted(_leaves(opened.document), key=repr)))
    changed = encode(_with(opened.document, path, data.draw(OTHERS)))
    if changed != opened.raw:
        with pytest.raises(RefusedError, match="isn't the signer's"):
            opened(changed)


def test_control_without_the_signatures_check_it_would_be_shown(opened: Opened, reader: Reader) -> None:
    changed = encode({**opened.document, "approvals": 2})
    assert reader("request", raw=changed)["approvals"] == 2


def test_another_key_another_type_and_another_signature_are_refused(opened: Opened) -> None:
    other = SigningKey(b"\x09" * 32)
    for changes in (
        {"signature": other.sign(record_hash(APPROVAL_REQUEST_TYPE, opened.raw)).signature.hex()},
        {"signature": opened.statement(record_hash(RECEIPT_TYPE, opened.raw)).hex()},
        {"signature": "00" * 64},
        {"config": {**opened.config, "statement_public_key": bytes(other.verify_key).hex()}},
    ):
        with pytest.raises(RefusedError, match="isn't the signer's"):
            opened(**changes)


def test_what_has_expired_or_is_of_another_deployment_is_refused(opened: Opened) -> None:
    expires = opened.document["expires_ms"]
    assert opened(now=expires - 1)
    with pytest.raises(RefusedError, match="has passed"):
        opened(now=expires)
    with pytest.raises(RefusedError, match="more than 24 hours ahead"):
        opened(now=expires - DAY_MS - 600_000)
    with pytest.raises(RefusedError, match="is another one than this station's"):
        opened(config={**opened.config, "deployment": "0" * 16})


def test_even_the_signers_word_is_refused_if_it_cant_be_shown_in_full(opened: Opened) -> None:
    """Unknown fields, missing ones, other kinds: what the station doesn't know could mean something to the signer."""
    document = opened.document
    assert opened.signed(document)
    for changed in (
        {**document, "fee": "1"}, {**document, "kind": "sweep"}, {**document, "type": "strongroom/approval-request/v2"},
        *({name: value for name, value in document.items() if name != gone} for gone in document),
    ):
        with pytest.raises(RefusedError):
            opened.signed(changed)


def test_another_spelling_of_the_same_request_is_refused(opened: Opened) -> None:
    for raw in (
        json.dumps(opened.document).encode(), opened.raw + b"\n", opened.raw.replace(b'"kind":', b'"kind": '),
        opened.raw.replace(b'{"a', b'{"type":"strongroom/approval-request/v1","a', 1),
    ):
        signature = opened.statement(record_hash(APPROVAL_REQUEST_TYPE, raw)).hex()
        with pytest.raises(RefusedError, match=r"canonical|twice"):
            opened(raw, signature=signature)
