"""From the bytes of a body to types: strict JSON, then the schema, then the fields' own rules; each fault is named."""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Final, TypeVar, cast

import msgspec

from strongroom.api.schemas import Actor, DestinationFields, PayoutBody, SealBody
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, IdempotencyKey, OrganisationId, PayoutId
from strongroom.domain.instant import Instant, InstantError, parse_instant
from strongroom.domain.money import AMOUNT_MAXIMUM, Amount, AssetId
from strongroom.domain.payout import OnHold, PayoutRequest
from strongroom.formats import simulated
from strongroom.formats.address_error import AddressError
from strongroom.formats.asset import SEPA
from strongroom.formats.bank_account import parse_bank_account
from strongroom.formats.bitcoin_address import NETWORKS, parse_bitcoin_address
from strongroom.formats.display_name import DisplayNameError, parse_name
from strongroom.formats.evm_address import parse_evm_address
from strongroom.protocol.canonical import CanonicalError, JsonValue, NumberError, encode, parse_object
from strongroom.protocol.destination_record import BankAccountRecord, DestinationRecord
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.run_tree import Seal, SealError, parse_seal

_Body = TypeVar("_Body")

INTEGER_DIGITS: Final = 15
FIELD_SHOWN_MAXIMUM: Final = 200

_PLACE = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`")
_MISSING = re.compile(r"Object missing required field `(.*?)`")

_HINTS: Final = {
    "amount": 'must be a whole number of base units as a string, such as "125000"',
    "asset": "must be the CAIP-19 name of an asset, such as eip155:1/erc20:0x…, or iso4217:EUR",
    "beneficiary": "must be a beneficiary's id: ben_ and 26 characters",
    "destination_digest": "must be 64 lower-case hex digits",
    "previous": "must be 64 lower-case hex digits",
    "root": "must be 64 lower-case hex digits",
    "replaces": "must be a payout's id: po_ and 26 characters",
    "not_before": "must be a time in UTC such as 2026-11-24T09:30:00.000Z",
    "expires_at": "must be a time in UTC such as 2026-11-24T09:30:00.000Z",
    "idempotency_key": "must be 1 to 255 visible ASCII characters without spaces",
    "mfa_at": "must be a time in UTC such as 2026-11-24T09:30:00.000Z",
    "country": "must be two capital letters (ISO 3166)",
}


_KINDS: Final = {
    "str": "a string", "int": "a whole number", "_Number": "another number", "object": "an object", "array": "a list",
    "bool": "true or false",
}


def refuse(code: Code, detail: str, field: str | None = None) -> RefusalError:
    return RefusalError(Refusal(code, detail, field))


class _Number:
    """Stands for a number that we don't read, until the schema says at which field it is wrong."""


def read_object(raw: bytes) -> dict[str, JsonValue]:
    """Strict JSON. Raises: RefusalError `malformed`.

    A number such as 1.5 or 1e3 is JSON, and in none of our fields: it is a field's fault, for `read_body` to name.
    """
    try:
        return parse_object(raw)
    except NumberError as fault:
        return _object_with_number(raw, fault)
    except CanonicalError as fault:
        raise refuse(Code.MALFORMED, f"the body {fault}") from fault


def _object_with_number(raw: bytes, number: NumberError) -> dict[str, JsonValue]:
    """What `parse_object` read until it met a number; nothing else in it may be malformed."""
    try:
        value = _WITH_NUMBERS.decode(raw.decode())
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except ValueError as fault:
        raise refuse(Code.MALFORMED, f"the body {fault}") from fault
    if not isinstance(value, dict):
        raise refuse(Code.MALFORMED, f"the body {number}") from number
    return value


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("has a key twice")
    return value


def _no_constant(text: str) -> JsonValue:
    raise ValueError(f"isn't JSON: {text}")


_WITH_NUMBERS: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=lambda text: int(text) if len(text) <= INTEGER_DIGITS else _Number(),
    parse_float=lambda _: _Number(),
    parse_constant=_no_constant,
)


def read_body(value: JsonValue, kind: type[_Body]) -> _Body:
    """Raises: RefusalError `invalid` with the path of the field."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as fault:
        raise RefusalError(_invalid(str(fault))) from fault


def _invalid(message: str) -> Refusal:
    place = _PLACE.search(message)
    path = place[1] if place else ""
    reason = message[: place.start()] if place else message
    for pattern, words in ((_UNKNOWN, "is unknown"), (_MISSING, "is missing")):
        named = pattern.match(reason)
        if named is not None:
            field = f"{path}.{named[1]}" if path else named[1]
            return Refusal(Code.INVALID, words, field[:FIELD_SHOWN_MAXIMUM])
    last = re.sub(r"\[.*?\]$", "", path).rpartition(".")[2]
    reason = f"is wrong: {reason[:1].lower()}{reason[1:FIELD_SHOWN_MAXIMUM]}"
    for name, words in _KINDS.items():
        reason = reason.replace(f"`{name}`", words)
    return Refusal(Code.INVALID, _HINTS.get(last, reason), path[:FIELD_SHOWN_MAXIMUM])


def check_payout(body: PayoutBody, now: Instant) -> None:
    """What a schema can't say. Raises: RefusalError `invalid`."""
    check_visible("external_id", body.external_id)
    check_visible("remittance_information", body.remittance_information)
    for index, activity in enumerate(body.activities):
        check_visible(f"activities[{index}]", activity)
    if body.actor is not None:
        _check_actor(body.actor)
    not_before, expires_at = _instant("not_before", body.not_before), _instant("expires_at", body.expires_at)
    if expires_at is not None and expires_at <= max(now, not_before or 0):
        raise refuse(Code.INVALID, "must be in the future, and after not_before", "expires_at")
    if body.metadata:
        _canonical("metadata", body.metadata)


def check_visible(name: str, text: str | None) -> None:
    """Nothing that controls a terminal, turns the text, or has no width. Raises: RefusalError `invalid`."""
    if text is not None and not text.isprintable():
        raise refuse(Code.INVALID, "must hold only characters that can be seen", name)


def _check_actor(actor: Actor) -> None:
    check_visible("actor.id", actor.id)
    check_visible("actor.session_id", actor.session_id)
    _instant("actor.mfa_at", actor.mfa_at)
    try:
        ipaddress.ip_address(actor.ip or "0.0.0.0")  # noqa: S104 no address to listen on: it stands for none given
    except ValueError as fault:
        raise refuse(Code.INVALID, "must be an IPv4 or IPv6 address", "actor.ip") from fault


def payout_request(
    body: PayoutBody, organisation: OrganisationId, client: ClientId, key: IdempotencyKey
) -> PayoutRequest:
    """Of a body that was checked. Raises: RefusalError `amount_out_of_range`."""
    minor = int(body.amount)
    if minor > AMOUNT_MAXIMUM:
        raise refuse(Code.AMOUNT_OUT_OF_RANGE, "must be at most 2^256-1 base units", "amount")
    if body.asset == simulated.ASSET and minor < simulated.DUST_MINOR:
        raise refuse(Code.AMOUNT_OUT_OF_RANGE, f"is dust: no node relays less than {simulated.DUST_MINOR}", "amount")
    return PayoutRequest(
        id=payout_id(organisation, client, key),
        idempotency_key=key,
        beneficiary=BeneficiaryId(body.beneficiary),
        destination_digest=DestinationDigest(body.destination_digest),
        amount=Amount(minor, AssetId(body.asset)),
        external_id=body.external_id,
        remittance_information=body.remittance_information,
        activities=tuple(body.activities),
        not_before=_instant("not_before", body.not_before),
        expires_at=_instant("expires_at", body.expires_at),
        on_hold=OnHold(body.on_hold),
        replaces=None if body.replaces is None else PayoutId(body.replaces),
        actor=None if body.actor is None else msgspec.json.encode(body.actor).decode(),
        metadata=_canonical("metadata", body.metadata) if body.metadata else None,
    )


def seal(body: SealBody, prefix: str) -> Seal:
    """Raises: RefusalError."""
    try:
        return parse_seal(body.count, body.totals, body.root)
    except SealError as fault:
        raise refuse(Code.INVALID, fault.reason, prefix + fault.field) from fault


def beneficiary_name(text: str) -> str:
    """Raises: RefusalError."""
    return _parsed("name", text, parse_name)


def where(fields: DestinationFields, prefix: str) -> str | BankAccountRecord:
    """The address or account, by the rules of its network; intake knows which of ours are forbidden besides.

    Raises: RefusalError.
    """
    account = (fields.iban, fields.account_holder, fields.country)
    try:
        if fields.network == SEPA:
            return _account(fields, prefix)
        if fields.address is None or any(each is not None for each in account):
            raise refuse(Code.INVALID, f"is needed for {fields.network}, without account fields", f"{prefix}address")
        if fields.network in NETWORKS:
            parse_bitcoin_address(fields.address, fields.network)
        elif fields.network == simulated.NETWORK:
            simulated.parse_simulated_address(fields.address, fields.network)
        elif fields.network.startswith("eip155:"):
            parse_evm_address(fields.address, fields.network)
        else:
            raise refuse(Code.NETWORK_MISMATCH, "isn't a network that is known here", f"{prefix}network")
    except AddressError as fault:
        raise refuse(Code(fault.fault.value), str(fault), prefix + fault.field) from fault
    return fields.address


def destination_record(
    organisation: OrganisationId, beneficiary: BeneficiaryId, name: str, network: str,
    where: str | BankAccountRecord, version: int, previous: str | None,
) -> DestinationRecord:
    """A record of class `declared`: the only class that a client's key can make."""
    digest = None if previous is None else DestinationDigest(previous)
    return DestinationRecord(
        organisation, beneficiary, name, DestinationClass.DECLARED, network, where, version, digest
    )


def _account(fields: DestinationFields, prefix: str) -> BankAccountRecord:
    for name in ("iban", "account_holder", "country"):
        if getattr(fields, name) is None:
            raise refuse(Code.INVALID, "is needed for sepa", prefix + name)
    if fields.address is not None:
        raise refuse(Code.INVALID, "isn't for sepa, which has iban, account_holder and country", f"{prefix}address")
    holder, country, iban = (cast("str", each) for each in (fields.account_holder, fields.country, fields.iban))
    account = parse_bank_account(holder, country, iban)
    return BankAccountRecord(account.account_holder, account.country, account.iban)


def _instant(name: str, text: str | None) -> Instant | None:
    if text is None:
        return None
    try:
        return parse_instant(text)
    except InstantError as fault:
        raise refuse(Code.INVALID, str(fault), name) from fault


def _parsed(name: str, text: str, parse: Callable[[str], str]) -> str:
    try:
        return parse(text)
    except DisplayNameError as fault:
        raise refuse(Code.INVALID, str(fault), name) from fault


def _canonical(name: str, value: dict[str, str]) -> str:
    try:
        return encode(cast("JsonValue", value)).decode()
    except CanonicalError as fault:
        raise refuse(Code.INVALID, str(fault), name) from fault
