"""A sandbox organisation: its keys, people, policy and roster, made afresh and written into the sandbox's folder.

The keys are for a sandbox and for nothing else: genesis says so, and a production genesis refuses them. Files with
secrets are readable by their owner only.
"""

import hashlib
import json
import os
import secrets
from base64 import b32encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from nacl.signing import SigningKey

from strongroom.domain.ids import ClientId, KeyId, OrganisationId, PersonId
from strongroom.domain.instant import DAY_MS
from strongroom.domain.permissions import Permission
from strongroom.domain.policy import POLICY_TYPE
from strongroom.formats import simulated
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import Credential, CredentialClass, Group, Person, Role, Roster, RosterClient, RosterKey
from strongroom.sandbox.evm_vault import vault_of
from strongroom.store.organisations import NewClient, NewKey, NewOrganisation

BITCOIN: Final = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
EVM: Final = "eip155:31337"
BUDGET_CENTS: Final = 10_000_000
FEE_BUDGET_CENTS: Final = 1_000_000
COOLING_MS: Final = 5_000
FINALITY_BLOCKS: Final = 2
CHANGE_DELAY_MS: Final = 5_000

_READ: Final = tuple(scope for scope in Permission if scope.value.endswith((":read", ":preview")))
_CLIENTS: Final[Mapping[str, tuple[Permission, ...]]] = {
    "payouts": (Permission.PAYOUTS_CREATE, Permission.PAYOUTS_CANCEL, *_READ),
    "beneficiaries": (Permission.BENEFICIARIES_CREATE, Permission.BENEFICIARIES_READ),
    "activities": (Permission.ACTIVITIES_CREATE,),
}
_PEOPLE: Final = (
    ("Ada Example", (Role.APPROVER,), ("treasury",)),
    ("Ben Example", (Role.APPROVER,), ("operations",)),
    ("Cleo Example", (Role.OFFICER, Role.ADMIN), ("officers",)),
    ("Dan Example", (Role.OFFICER, Role.TREASURER), ("officers", "treasury")),
    ("Eve Example", (Role.OPERATOR,), ()),
    ("Finn Example", (Role.AUDITOR, Role.SUPPORT), ()),
)
_FEES: Final[Mapping[str, tuple[str, str, str]]] = {
    "BTC": (BITCOIN, "5000000", "200000"), "SIM": (simulated.NETWORK, "5000000", "20000"),
    "ETH": (EVM, "400000000000000000", "50000000000000"),
}
"""Symbol of the asset that pays a network's fees: network, the most for one chain transaction, and for 1,000 bytes, or
of gas."""
_GROUPS: Final = {"treasury": 1, "operations": 1, "officers": 2}
_OPENING: Final = {"BTC": 20 * 10**8, "SIM": 1_000_000 * 10**8,
    "USDC": 10_000_000 * 10**6, "USDT": 10_000_000 * 10**6, "ETH": 10 * 10**18, "EUR": 10_000_000 * 100}

_Id = TypeVar("_Id", bound=str)


@dataclass(frozen=True, slots=True)
class Made:
    """What is written to PostgreSQL, and what sandbox.json says of it."""

    new: NewOrganisation
    document: dict[str, Any]


def assets_of(tokens: Mapping[str, str], rails: Collection[str] = ()) -> dict[str, str]:
    """Symbol to CAIP-19 name; tokens, and ether for their fees, are there when an EVM node is, SIM when the simulated
    chain is."""
    assets = {"BTC": f"{BITCOIN}/slip44:0", "EUR": "iso4217:EUR"}
    if "simulated" in rails:
        assets["SIM"] = simulated.ASSET
    if tokens:
        assets["ETH"] = f"{EVM}/slip44:60"
    return {**assets, **{symbol: f"{EVM}/erc20:{address}" for symbol, address in tokens.items()}}


def opening_of(assets: Mapping[str, str]) -> dict[str, int]:
    """What a sandbox's wallets have to begin with, by the asset's CAIP-19 name; `assets` are those names by symbol."""
    return {asset: _OPENING[symbol] for symbol, asset in assets.items()}


def make_organisation(folder: Path, name: str, assets: Mapping[str, str]) -> Made:
    """Keys and documents of a new organisation; all go to a folder of its own below `folder`.

    policy.json and roster.json there are the verbatim bytes of the first versions.
    """
    organisation = _fresh(OrganisationId, "org_")
    keys = folder / organisation
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    keys.mkdir(mode=0o700)
    people, people_document, console_keys = _make_people(keys)
    clients: list[NewClient] = []
    roster_clients: list[RosterClient] = []
    clients_document: dict[str, Any] = {}
    for client_name, scopes in _CLIENTS.items():
        client, key_id, key = _fresh(ClientId, "cl_"), _fresh(KeyId, "ak_"), SigningKey.generate()
        file = keys / f"{client_name}.key"
        write_private(file, bytes(key).hex() + "\n")
        public = bytes(key.verify_key)
        clients.append(NewClient(client, client_name, [NewKey(key_id, public, scopes)]))
        roster_clients.append(RosterClient(client, (RosterKey(key_id, public, scopes),), ()))
        clients_document[client_name] = {
            "client_id": client, "key_id": key_id, "private_key_file": str(file), "scopes": list(scopes),
        }
    token = "srb_" + b32encode(secrets.token_bytes(32)).decode().lower().rstrip("=")
    reader = NewKey(_fresh(KeyId, "ak_"), hashlib.sha256(token.encode()).digest(), _READ)
    clients.append(NewClient(_fresh(ClientId, "cl_"), "readonly", bearer_keys=[reader]))
    clients_document["readonly"] = {"bearer": token, "scopes": list(_READ)}
    groups = tuple(Group(group, threshold) for group, threshold in _GROUPS.items())
    roster = Roster(organisation, 1, None, people, groups, tuple(roster_clients))
    new = NewOrganisation(
        id=organisation,
        name=name,
        policy=encode(policy_document(organisation, assets)),
        roster=write_roster(roster),
        clients=clients,
        opening=opening_of(assets),
        console_keys=console_keys,
    )
    for file_name, raw in (("policy.json", new.policy), ("roster.json", new.roster)):
        write_private(keys / file_name, raw.decode())
    document = {
        "organisation": organisation, "clients": clients_document, "people": people_document, "assets": dict(assets),
    }
    return Made(new, document)


def policy_document(organisation: OrganisationId, assets: Mapping[str, str]) -> dict[str, JsonValue]:
    """The sandbox's policy: small sums need nobody, large ones two groups, none above 250,000 USD."""
    known: Mapping[str, tuple[int, str, str, str, str]] = {
        "BTC": (8, BITCOIN, str(21 * 10**14), "100000000", "15000000"),
        "ETH": (18, EVM, "1", str(10**18), "500000"),  # pays fees, and nobody: no payout is that small
        "EUR": (2, "sepa", str(10**11), "100", "125"),
        "SIM": (8, simulated.NETWORK, str(10**15), "1000000", "1"),
        "USDC": (6, EVM, str(10**15), "10000", "1"),
        "USDT": (6, EVM, str(10**15), "10000", "1"),
    }
    rules: list[JsonValue] = []
    for symbol, asset in assets.items():
        decimals, network, maximum, units, cents = known[symbol]
        rules.append(
            {
                "asset": asset, "symbol": symbol, "decimals": decimals, "network": network, "maximum_minor": maximum,
                "ceiling": {"units": units, "reference_minor": cents},
            }
        )
    return {
        "type": POLICY_TYPE,
        "organisation": organisation,
        "version": 1,
        "previous": None,
        "reference_currency": "USD",
        "assets": rules,
        "tiers": [_tier(25_000, 0, 0), _tier(1_000_000, 1, 1), _tier(25_000_000, 2, 2)],
        "risk": {"above_reference_minor": "25000", "young_for_ms": DAY_MS},
        "limits": [
            _limit("B: unattended, a day", "organisation", "unattended"),
            _limit("D: declared or young, a day", "organisation", "unattended_young"),
            _limit("K: one client, a day", "client", "unattended"),
        ],
        "fee_budget_reference_minor": str(FEE_BUDGET_CENTS),
        "sweep_fee_budget_reference_minor": str(FEE_BUDGET_CENTS),
        "cooling_off_ms": {"declared": COOLING_MS, "payee_verified": COOLING_MS, "allowlisted": COOLING_MS},
        "intent_maximum_age_ms": DAY_MS,
        "browser_release_reference_minor": str(BUDGET_CENTS),
        "wallets": [_wallet(organisation, symbol, assets) for symbol in _FEES if symbol in assets],
        "governance": {"group": "officers", "delay_ms": CHANGE_DELAY_MS},
    }


def write_private(file: Path, text: str) -> None:
    """In one step, readable by its owner only."""
    unfinished = file.with_name(file.name + ".unfinished")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    unfinished.rename(file)


def _make_people(
    keys: Path,
) -> tuple[tuple[Person, ...], list[dict[str, Any]], list[tuple[PersonId, str, bytes]]]:
    """Each with a software key that approves, and another that signs in to the console."""
    people: list[Person] = []
    console_keys: list[tuple[PersonId, str, bytes]] = []
    document: list[dict[str, Any]] = []
    for name, roles, groups in _PEOPLE:
        login = name.split(" ")[0].lower()
        file, console_file = keys / f"{login}.passkey", keys / f"{login}.console-passkey"
        credential, key = _software_passkey(file)
        console_credential, console_key = _software_passkey(console_file)
        people.append(
            Person(
                _fresh(PersonId, "pe_"), name, roles, groups,
                (Credential(credential, key, CredentialClass.SOFTWARE),),
            )
        )
        document.append(
            {
                "id": people[-1].id, "name": name, "roles": list(roles), "groups": list(groups), "login": login,
                "software_key_file": str(file), "console_key_file": str(console_file),
            }
        )
        console_keys.append((people[-1].id, console_credential.hex(), console_key))
    return tuple(people), document, console_keys


def _software_passkey(file: Path) -> tuple[bytes, bytes]:
    """A new one in a file: its credential id, and its public key as COSE."""
    key, credential = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(32)
    scalar = key.private_numbers().private_value
    write_private(file, json.dumps({"credential_id": credential.hex(), "p256_private": f"{scalar:064x}"}) + "\n")
    return credential, _cose(key)


def _cose(key: ec.EllipticCurvePrivateKey) -> bytes:
    """An ES256 public key as COSE (RFC 9053 section 2.1)."""
    numbers = key.public_key().public_numbers()
    return bytes(cbor.encode({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}))


def _fresh(kind: Callable[[str], _Id], prefix: str) -> _Id:
    return kind(prefix + b32encode(secrets.token_bytes(20)).decode().lower()[:26])


def _tier(up_to_cents: int, approvals: int, groups: int) -> dict[str, JsonValue]:
    return {"up_to_reference_minor": str(up_to_cents), "approvals": approvals, "groups": groups}


def _wallet(organisation: OrganisationId, symbol: str, assets: Mapping[str, str]) -> dict[str, JsonValue]:
    network, maximum, rate = _FEES[symbol]
    vault: dict[str, JsonValue] = {"vault": vault_of(organisation)} if network == EVM else {}
    return {
        **vault,
        "network": network, "fee_asset": assets[symbol], "fee_maximum_minor": maximum, "fee_rate_maximum": rate,
        "finality_blocks": FINALITY_BLOCKS, "treasury": None,
    }


def _limit(name: str, scope: str, counts: str) -> dict[str, JsonValue]:
    return {
        "name": name, "scope": scope, "counts": counts, "span_ms": DAY_MS,
        "maximum_reference_minor": str(BUDGET_CENTS),
    }
