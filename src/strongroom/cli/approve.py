"""Approving and stopping: what people say, signed with their passkeys over the signer's own bytes.

What is shown is read from the verbatim request that the signer signed, after its signature held; nothing is taken from
the API's word. It is shown before a key is asked for anything. Freezes go to guard's own listener, and not by the road
that they should stop.
"""

import json
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import httpx
from cyclopts import Parameter
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from strongroom.cli.output import Exit, Stop, fields, say, show, table
from strongroom.cli.passkey import SoftwarePasskey, software_passkey
from strongroom.cli.profile import transport
from strongroom.cli.security_key import SecurityKey
from strongroom.cli.session import Data, Json, document, reader, speaking
from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.domain.instant import MINUTE_MS, Instant
from strongroom.domain.timestamp import format_instant
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, assertion_document
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.negative import Action, Negative
from strongroom.protocol.phrase import phrase
from strongroom.protocol.record_writer import write_negative

TIMEOUT_S: Final = 10
RECORD_LIFE_MS: Final = 5 * MINUTE_MS
WORD_LIFE_MS: Final = 30 * MINUTE_MS
"""Of an officer's word: somebody else, on another machine, uses it."""

As = Annotated[
    list[str] | None, Parameter("--as", negative="", help="Who signs: a login of the profile; more than one if needed")
]

OnKey = Annotated[
    bool, Parameter("--security-key", negative="", help="Sign with the security key that is plugged in")
]
Signer = SoftwarePasskey | SecurityKey

Scope = Annotated[str, Parameter(help="organisation, or asset:…, network:…, client:…, beneficiary:…")]


@speaking
def approve(
    subject: Annotated[str | None, Parameter(help="A payout or run; without it, what waits is listed")] = None,
    /,
    *,
    people: As = None,
    decline: Annotated[bool, Parameter(negative="", help="Say no, for good, through guard")] = False,
    security_key: OnKey = False,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Show what waits for people, and approve it with their security keys, or the sandbox's software passkeys."""
    sandbox = document(data)
    waiting = _waiting(sandbox)
    if subject is None:
        rows = [(each["subject"], _worth(each["shown"]), f"{len(each['people'])} of {each['approvals']}")
                for each in waiting]
        show(waiting, as_json, table(("subject", "what", "people"), rows))
        return Exit.DONE
    signers = signers_of(sandbox, people, security_key)
    if decline:
        return instruct(sandbox, Action.DECLINE, subject, signers, 0, as_json)
    found = next((each for each in waiting if each["subject"] == subject), None)
    if found is None:
        raise Stop(Exit.NOT_FOUND, f"nothing waits for people as {subject}")
    say(_shown(found))
    answer = _give(sandbox, found, signers)
    people_of = f"{len(answer['people'])} of {answer['approvals']}"
    show(answer, as_json, fields([("subject", subject), ("people", people_of)]))
    return Exit.DONE if len(answer["people"]) >= answer["approvals"] else Exit.WAITS


def approve_for_the_sandbox(sandbox: dict[str, Any], subject: str, asked: set[str]) -> None:
    """What a script needs: the sandbox's approvers approve a subject, one of each group first, and it is said.

    `asked` holds the requests that were answered before. Raises: Stop if the request isn't the signer's.
    """
    found = next((each for each in _waiting(sandbox) if each["subject"] == subject), None)
    if found is None or found["id"] in asked:
        return
    asked.add(found["id"])
    approvers = [each for each in sandbox["people"] if "approver" in each["roles"]]
    logins = {each["groups"][0]: each["login"] for each in reversed(approvers)}.values()
    say(f"{_worth(found['shown'])} needs {found['approvals']} people: the sandbox's software passkeys approve it")
    _give(sandbox, found, [software_passkey(sandbox, login) for login in list(logins)[: found["approvals"]]])


def _give(sandbox: dict[str, Any], found: dict[str, Any], signers: Sequence[Signer]) -> Any:
    """The assertions of these people; the API's last answer."""
    answer: Any = None
    for signer in signers:
        given = assertion_document(signer.asserts(found["request"].encode(), APPROVAL_REQUEST_TYPE))
        answer = post(sandbox, f"{sandbox['api_url']}/v1/approvals/{found['id']}/assertions", given)
        say(f"approved by {signer.name}: {len(answer['people'])} of {answer['approvals']}")
    return answer


@speaking
def freeze(
    *,
    scope: Scope = "organisation",
    people: As = None,
    security_key: OnKey = False,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Stop payments at once, through guard; one officer is enough."""
    sandbox = document(data)
    return instruct(sandbox, Action.FREEZE, scope, signers_of(sandbox, people, security_key), 0, as_json)


@speaking
def veto(
    change: Annotated[str, Parameter(help="The hash of a pending change, as the notice of it says")],
    /,
    *,
    people: As = None,
    security_key: OnKey = False,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """End a pending change of roster or policy, through guard; one member is enough."""
    sandbox = document(data)
    return instruct(sandbox, Action.VETO, change, signers_of(sandbox, people, security_key), 0, as_json)


@speaking
def unfreeze(
    *,
    scope: Scope = "organisation",
    people: As = None,
    security_key: OnKey = False,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Let payments go on; needs the quorum of the group that governs: --as one --as another."""
    sandbox = document(data)
    epoch = _freeze_epoch(sandbox)
    return instruct(sandbox, Action.UNFREEZE, scope, signers_of(sandbox, people, security_key), epoch, as_json)


@speaking
def allow_recovery(
    network: Annotated[str, Parameter(help="Such as sim:sandbox")],
    /,
    *,
    people: As = None,
    security_key: OnKey = False,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Let one sweep or cancel on a network be signed while it is frozen; one officer is enough.

    It is used up by one chain transaction, ends after half an hour, and with every
    freeze or unfreeze. The money goes to the policy's treasury or stays at home.
    """
    sandbox = document(data)
    signers = signers_of(sandbox, people, security_key)
    return instruct(
        sandbox, Action.RECOVER, f"network:{network}", signers, _freeze_epoch(sandbox), as_json, life_ms=WORD_LIFE_MS
    )


def _freeze_epoch(sandbox: dict[str, Any]) -> int:
    standing = get(sandbox, f"{sandbox['guard_url']}/v1/status")["organisations"].get(sandbox["organisation"], {})
    epoch: int = standing.get("freeze_epoch", 0)
    return epoch


def signers_of(sandbox: dict[str, Any], people: Sequence[str] | None, security_key: bool) -> list[Signer]:
    """Who has no software passkey has a security key."""
    if not people:
        logins = ", ".join(f"{each['login']} ({', '.join(each['roles'])})" for each in sandbox["people"])
        raise Stop(Exit.USAGE, f"--as: say who signs; there are {logins}")
    on_keys = {each["login"] for each in sandbox["people"] if security_key or "software_key_file" not in each}
    return [(_on_key if login in on_keys else software_passkey)(sandbox, login) for login in people]


def _on_key(sandbox: dict[str, Any], login: str) -> SecurityKey:
    person = next(each for each in sandbox["people"] if each["login"] == login)
    party = sandbox["relying_party"]
    ids = tuple(bytes.fromhex(each) for each in person.get("credential_ids", ()))
    return SecurityKey(PersonId(person["id"]), person["name"], party["id"], party["origin"], ids)


def _waiting(sandbox: dict[str, Any]) -> list[dict[str, Any]]:
    """What waits, each with `shown`: the request as the signer wrote it. Raises: Stop if its signature doesn't hold."""
    found: list[dict[str, Any]] = []
    with reader(sandbox) as api:
        for each in api.pages("/v1/approvals", {"limit": "200"}):
            raw = each["request"].encode()
            try:
                key = VerifyKey(bytes.fromhex(sandbox["statement_public_key"]))
                key.verify(record_hash(APPROVAL_REQUEST_TYPE, raw), bytes.fromhex(each["signature"]))
            except (BadSignatureError, ValueError) as fault:
                raise Stop(Exit.NOT_VERIFIED, f"the request for {each['subject']} isn't the signer's") from fault
            found.append({**each, "shown": json.loads(raw)})
    return found


def _worth(shown: dict[str, Any]) -> str:
    if shown["kind"] == "payout":
        return f"{shown['amount']} of {shown['asset']} to {shown['destination']['name']}"
    totals = ", ".join(f"{minor} of {asset}" for asset, minor in shown["totals"].items())
    return f"{shown['count']} payouts, {totals}"


def _shown(found: dict[str, Any]) -> str:
    """All that the request says that is for a person to judge, and the phrase that the station shows for it too."""
    shown, digest = found["shown"], record_hash(APPROVAL_REQUEST_TYPE, found["request"].encode())
    to = shown.get("destination", {})
    return fields([
        ("what", _worth(shown)), ("to", to.get("address")), ("on", to.get("network")),
        ("class", to.get("class")), ("external id", shown.get("external_id")), ("asked for by", shown["client"]),
        ("root", shown.get("root")), ("needs", f"{shown['approvals']} people of {shown['groups']} groups"),
        ("doesn't count", ", ".join(shown["excluded"]) or None), ("until", format_instant(shown["expires_ms"])),
        ("ticket", shown["ticket"]), ("phrase", phrase(digest)),
    ])


def instruct(
    sandbox: dict[str, Any], action: Action, subject: str, signers: Sequence[Signer], epoch: int, as_json: bool, *,
    attempts: Sequence[str] = (), reason: str = "", life_ms: int = RECORD_LIFE_MS,
) -> int:
    """Sign an instruction and give it to guard. A release names all attempts, and says why."""
    expires = Instant(time.time_ns() // 1_000_000 + life_ms)
    organisation = OrganisationId(sandbox["organisation"])
    negative = Negative(
        action, expires, epoch, subject, organisation, secrets.token_bytes(32).hex(), tuple(attempts), reason
    )
    record = write_negative(negative)
    say(fields([
        ("to sign", action.value), ("of", subject), ("for", organisation), ("attempts", ", ".join(attempts) or None),
        ("reason", reason or None),
    ]))
    body = {
        "organisation": organisation, "record": b64encode(record).decode(),
        "assertions": [assertion_document(each.asserts(record, negative.type)) for each in signers],
    }
    answer = post(sandbox, f"{sandbox['guard_url']}/v1/negatives", body)
    show(
        {"action": action.value, "object": subject, **answer}, as_json,
        fields([("guard keeps", action.value), ("of", subject), ("as instruction", answer["control_length"])]),
    )
    return Exit.DONE


def post(profile: dict[str, Any], url: str, body: dict[str, Any]) -> Any:
    """What guard or the API answers to what people have signed. Raises: Stop."""
    return _answered(profile, url, lambda http: http.post(url, json=body))


def get(profile: dict[str, Any], url: str) -> Any:
    """Raises: Stop."""
    return _answered(profile, url, lambda http: http.get(url))


def _answered(profile: dict[str, Any], url: str, ask: Callable[[httpx.Client], httpx.Response]) -> Any:
    """Raises: Stop."""
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, transport=transport(profile)) as http:
            answer = ask(http)
    except httpx.HTTPError as fault:
        raise Stop(Exit.UNREACHABLE, f"{url} doesn't answer: {fault}") from fault
    if answer.is_success:
        return answer.json()
    problem = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    code = Exit.NOT_FOUND if answer.status_code == 404 else Exit.REFUSED
    raise Stop(code, problem.get("detail") or f"{url} answered {answer.status_code}")
