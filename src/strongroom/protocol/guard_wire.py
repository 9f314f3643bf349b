"""What signer and guard say to each other: each frame signed with a key that genesis pins, each answer to a nonce.

The signer speaks first. `Sync` offers new entries of its journal and asks for guard's cosignature of the head, for a
lease, and for what is new in guard's control log. `Fetch` asks for entries back: that is how a signer that lost its
journal is brought forward. `link` carries the frames and can neither read a secret in them nor change them.

An attestation is what guard saw of a chain with its own node: a fact, which the signer holds against its journal. It
answers no nonce: anybody may carry it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import INSTANT_MAXIMUM, Instant
from strongroom.protocol.canonical import JsonValue, encode, record_hash
from strongroom.protocol.client_request import base64_list, take_base64
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.record import read_record, take_bytes, take_distinct, take_hash

SYNC_TYPE: Final = "strongroom/sync/v1"
SYNC_ANSWER_TYPE: Final = "strongroom/sync-answer/v1"
FETCH_TYPE: Final = "strongroom/fetch/v1"
FETCH_ANSWER_TYPE: Final = "strongroom/fetch-answer/v1"
HEAD_TYPE: Final = "strongroom/journal-head/v1"
ATTESTATION_TYPE: Final = "strongroom/attestation/v1"

FRAME_MAXIMUM: Final = 8 * 2**20
ENTRIES_MAXIMUM: Final = 4_096
OFFER_MAXIMUM: Final = 4 * 2**20
"""Bytes of entries in one frame; base64 and the rest stay below `FRAME_MAXIMUM`."""
LEASE_MAXIMUM_MS: Final = 120_000
LENGTH_MAXIMUM: Final = 2**48
SPENDS_MAXIMUM: Final = 10_000
_SIGNATURE_LENGTH: Final = 64


class Lease(StrEnum):
    """`recover` allows sweeps and cancels only, so that money can still be saved; `none` allows nothing."""

    ALL = "all"
    RECOVER = "recover"
    NONE = "none"


RECOVERS: Final = frozenset({"cancel", "sweep"})
"""The operations that save money and pay nobody: allowed by `recover`, and by an officer's word while frozen."""


class Reason(StrEnum):
    """Why a head was cosigned or not; of a Sync that isn't cosigned guard keeps nothing."""

    COSIGNED = "cosigned"
    BEHIND = "behind"
    """One of the two lacks entries that the other has; `journal` says from where to go on."""
    FORK = "fork"
    """The two hold different entries: people must look into it."""
    CONTROL = "control"
    """A spend, and the control log isn't applied as far as guard's goes; the entries that lack are in the answer."""
    ALARM = "alarm"
    """A spend that guard's lease doesn't allow now."""
    LOST = "lost"
    """Guard takes the signer's journal when each organisation's quorum has said how to go on: both had lost some."""
    UNRECONCILED = "unreconciled"
    """Guard doesn't know whether its copy is the newest: its operator must reconcile."""


@dataclass(frozen=True, slots=True)
class Sync:
    """`entries` go on from guard's head as the signer knows it to `journal`; `control` is what is applied.

    `wants_spend`: the entries hold a spend, which guard cosigns only when its whole control log has been applied.
    """

    nonce: bytes
    journal: Head
    entries: tuple[bytes, ...]
    control: Head
    wants_spend: bool
    head_signature: bytes


@dataclass(frozen=True, slots=True)
class SyncAnswer:
    """`journal` is what guard holds now: the signer's own head if `is_cosigned`, else where it should go on from."""

    nonce: bytes
    is_cosigned: bool
    journal: Head
    control: Head
    control_entries: tuple[bytes, ...]
    lease: Lease
    lease_ms: int
    now: Instant
    reason: Reason


@dataclass(frozen=True, slots=True)
class FetchAnswer:
    """Entries from the one asked for on; the signature is the signer's own over guard's newest head."""

    nonce: bytes
    journal: Head
    head_signature: bytes
    entries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Attestation:
    """A chain transaction stands in a block, and what it spends: outpoints, `TRANSACTION:INDEX`.

    `depth` counts the blocks that guard read, from the one that holds it on; `at` is guard's time.
    """

    at: Instant
    identifier: str
    depth: int
    network: str
    spends: tuple[str, ...]


def sign_frame(key: SigningKey, raw: bytes, record_type: str) -> bytes:
    return key.sign(record_hash(record_type, raw)).signature + raw


def open_frame(public_key: bytes, frame: bytes, record_type: str) -> bytes:
    """The record in a frame that `public_key` signed. Raises: DocumentError."""
    raw = frame[_SIGNATURE_LENGTH:]
    try:
        VerifyKey(public_key).verify(record_hash(record_type, raw), frame[:_SIGNATURE_LENGTH])
    except (BadSignatureError, ValueError) as fault:
        raise DocumentError("", f"isn't a {record_type} signed by the expected key") from fault
    return raw


def head_statement(deployment: str, journal: Head) -> bytes:
    """What the signer signs of its journal, so that guard can later prove what it was given."""
    return encode({"deployment": deployment, "head": journal.head.hex(), "length": journal.length, "type": HEAD_TYPE})


def encode_sync(sync: Sync) -> bytes:
    return encode({
        "control": _head_document(sync.control), "entries": base64_list(sync.entries),
        "head_signature": sync.head_signature.hex(), "journal": _head_document(sync.journal),
        "nonce": sync.nonce.hex(), "type": SYNC_TYPE, "wants_spend": sync.wants_spend,
    })


def parse_sync(raw: bytes) -> Sync:
    """Raises: DocumentError."""
    fields = read_record(raw, SYNC_TYPE)
    return fields.done(Sync(
        take_bytes(fields, "nonce", 32, 32), take_head(fields, "journal"), _take_entries(fields),
        take_head(fields, "control"), fields.flag("wants_spend"), take_bytes(fields, "head_signature", 64, 64),
    ))


def encode_sync_answer(answer: SyncAnswer) -> bytes:
    return encode({
        "control": _head_document(answer.control), "entries": base64_list(answer.control_entries),
        "is_cosigned": answer.is_cosigned, "journal": _head_document(answer.journal),
        "lease": answer.lease.value, "lease_ms": answer.lease_ms, "nonce": answer.nonce.hex(),
        "now_ms": answer.now, "reason": answer.reason.value, "type": SYNC_ANSWER_TYPE,
    })


def parse_sync_answer(raw: bytes) -> SyncAnswer:
    """Raises: DocumentError."""
    fields = read_record(raw, SYNC_ANSWER_TYPE)
    return fields.done(SyncAnswer(
        take_bytes(fields, "nonce", 32, 32), fields.flag("is_cosigned"), take_head(fields, "journal"),
        take_head(fields, "control"), _take_entries(fields), fields.parsed("lease", Lease),
        fields.integer("lease_ms", 0, LEASE_MAXIMUM_MS), Instant(fields.integer("now_ms", 0, INSTANT_MAXIMUM)),
        fields.parsed("reason", Reason),
    ))


def encode_fetch(nonce: bytes, first: int) -> bytes:
    return encode({"first": first, "nonce": nonce.hex(), "type": FETCH_TYPE})


def parse_fetch(raw: bytes) -> tuple[bytes, int]:
    """The nonce, and the index of the first entry wanted. Raises: DocumentError."""
    fields = read_record(raw, FETCH_TYPE)
    nonce, first = take_bytes(fields, "nonce", 32, 32), fields.integer("first", 0, LENGTH_MAXIMUM)
    fields.close()
    return nonce, first


def encode_fetch_answer(answer: FetchAnswer) -> bytes:
    return encode({
        "entries": base64_list(answer.entries), "head_signature": answer.head_signature.hex(),
        "journal": _head_document(answer.journal), "nonce": answer.nonce.hex(), "type": FETCH_ANSWER_TYPE,
    })


def parse_fetch_answer(raw: bytes) -> FetchAnswer:
    """Raises: DocumentError."""
    fields = read_record(raw, FETCH_ANSWER_TYPE)
    return fields.done(FetchAnswer(
        take_bytes(fields, "nonce", 32, 32), take_head(fields, "journal"),
        take_bytes(fields, "head_signature", 64, 64), _take_entries(fields),
    ))


def fitting(entries: Iterable[bytes]) -> tuple[bytes, ...]:
    """The first of these, as many as one frame takes: always one, if there is one."""
    taken: list[bytes] = []
    size = 0
    for entry in entries:
        size += len(entry)
        if taken and (size > OFFER_MAXIMUM or len(taken) == ENTRIES_MAXIMUM):
            break
        taken.append(entry)
    return tuple(taken)


def encode_attestation(seen: Attestation, deployment: str) -> bytes:
    return encode({
        "at_ms": seen.at, "chain_transaction": seen.identifier, "deployment": deployment,
        "depth": seen.depth, "network": seen.network, "spends": [*seen.spends], "type": ATTESTATION_TYPE,
    })


def open_attestation(public_key: bytes, frame: bytes, deployment: str) -> Attestation:
    """Raises: DocumentError."""
    fields = read_record(open_frame(public_key, frame, ATTESTATION_TYPE), ATTESTATION_TYPE)
    fields.exactly("deployment", deployment)
    return fields.done(Attestation(
        Instant(fields.integer("at_ms", 0, INSTANT_MAXIMUM)), take_hash(fields, "chain_transaction"),
        fields.integer("depth", 1, LENGTH_MAXIMUM), fields.text("network"),
        take_distinct(fields, "spends", SPENDS_MAXIMUM, str),
    ))


def _head_document(head: Head) -> dict[str, JsonValue]:
    return {"head": head.head.hex(), "length": head.length}


def take_head(fields: Fields, name: str) -> Head:
    inner = fields.inner(name)
    return inner.done(Head(inner.integer("length", 0, LENGTH_MAXIMUM), bytes.fromhex(take_hash(inner, "head"))))


def _take_entries(fields: Fields) -> tuple[bytes, ...]:
    values = fields.take("entries")
    if not isinstance(values, list) or len(values) > ENTRIES_MAXIMUM:
        raise DocumentError(fields.path("entries"), f"must be a list of at most {ENTRIES_MAXIMUM}")
    return tuple(take_base64(value, f"entries[{index}]") for index, value in enumerate(values))
