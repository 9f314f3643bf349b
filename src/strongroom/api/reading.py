"""From the bytes of a body to types: strict JSON, then the schema, then the fields' own rules; each fault is named."""

import re
from collections.abc import Callable
from typing import Final, TypeVar, cast

import msgspec

from strongroom.api.schemas import DestinationFields, PayoutBody, SealBody
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, IdempotencyKey, OrganisationId, PayoutId
from strongroom.domain.instant import Instant, InstantError, parse_instant
from strongroom.domain.money import AMOUNT_MAXIMUM, Amount, AssetId
from strongroom.domain.payout import OnHold, PayoutRequest
from strongroom.formats.address_error import AddressError
from strongroom.formats.asset import SEPA
from strongroom.formats.bank_account import parse_bank_account
from strongroom.formats.bitcoin_address import NETWORKS, parse_bitcoin_address
from strongroom.formats.display_name import DisplayNameError, parse_name
from strongroom.formats.evm_address import parse_evm_address
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object
from strongroom.protocol.destination_record import BankAccountRecord, DestinationRecord
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.run_tree import Seal, SealError, parse_seal

_Body = TypeVar("_Body")

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
    "country": "must be two capital letters (ISO 3166)",
}


def refuse(code: Code, detail: str, field: str | None = None) -> RefusalError:
    return RefusalError(Refusal(code, detail, field))


def read_object(raw: bytes) -> dict[str, JsonValue]:
    """Strict JSON. Raises: RefusalError `malformed`."""
    try:
        return parse_object(raw)
    except CanonicalError as fault:
        raise refuse(Code.MALFORMED, f"the body {fault}") from fault


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
            return Refusal(Code.INVALID, words, f"{path}.{named[1]}" if path else named[1])
    last = re.sub(r"\[.*?\]$", "", path).rpartition(".")[2]
    return Refusal(Code.INVALID, _HINTS.get(last, f"is wrong: {reason[:1].lower()}{reason[1:]}"), path)


def check_payout(body: PayoutBody, now: Instant) -> None:
    """What a schema can't say. Raises: RefusalError `invalid`."""
    for name, text in (("external_id", body.external_id), ("remittance_information", body.remittance_information)):
        if text is not None and not text.isprintable():
            raise refuse(Code.INVALID, "must hold only characters that can be seen", name)
    for index, activity in enumerate(body.activities):
        if not activity.isprintable():
            raise refuse(Code.INVALID, "must hold only characters that can be seen", f"activities[{index}]")
    if not body.amount.isdigit():  # a newline at its end, which the schema's pattern lets by
        raise refuse(Code.INVALID, _HINTS["amount"], "amount")
    not_before, expires_at = _instant("not_before", body.not_before), _instant("expires_at", body.expires_at)
    if expires_at is not None and expires_at <= max(now, not_before or 0):
        raise refuse(Code.INVALID, "must be in the future, and after not_before", "expires_at")
    if body.metadata:
        _canonical("metadata", body.metadata)


def payout_request(
    body: PayoutBody, organisation: OrganisationId, client: ClientId, key: IdempotencyKey
) -> PayoutRequest:
    """Of a body that was checked. Raises: RefusalError `amount_out_of_range`."""
    minor = int(body.amount)
    if minor > AMOUNT_MAXIMUM:
        raise refuse(Code.AMOUNT_OUT_OF_RANGE, "must be at most 2^256-1 base units", "amount")
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


def where(fields: DestinationFields, forbidden: frozenset[str], prefix: str) -> str | BankAccountRecord:
    """The address or account, by the rules of its network. Raises: RefusalError."""
    account = (fields.iban, fields.account_holder, fields.country)
    try:
        if fields.network == SEPA:
            return _account(fields, prefix)
        if fields.address is None or any(each is not None for each in account):
            raise refuse(Code.INVALID, f"is needed for {fields.network}, without account fields", f"{prefix}address")
        if fields.network in NETWORKS:
            parse_bitcoin_address(fields.address, fields.network)
        elif fields.network.startswith("eip155:"):
            parse_evm_address(fields.address, fields.network, forbidden)
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
