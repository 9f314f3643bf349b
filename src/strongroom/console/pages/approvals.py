"""The queue of what waits for people, and one request as an approver sees it.

What is shown is the signer's own request, with what the record knows beside it. Approving is done at the station, over
the request's bytes; this page gives the link, and takes what the station posts.
"""

import json
from dataclasses import dataclass
from statistics import median_high
from typing import Any, Final

from strongroom.advice.look_alike import ends, look_alike
from strongroom.console.call import Call
from strongroom.console.draw import Dot, dots
from strongroom.console.duties import Duty, duties_of
from strongroom.console.flags import SENT, Asked, Flag, flags_of
from strongroom.console.session import CHALLENGE_LIFE_MS, draw_token, token_hash
from strongroom.console.station import approve_link, instruct_link
from strongroom.console.web import Reply, WebError
from strongroom.domain.instant import HOUR_MS, Instant
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.negative import Action
from strongroom.protocol.phrase import phrase
from strongroom.store import console, console_pages, wallets
from strongroom.store.console_pages import Past, Version, Waiting
from strongroom.store.session import Session

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Beside:
    """What the record knows beside a payout's request."""

    past: list[Past]
    versions: list[Version]
    flags: list[Flag]
    dots: list[Dot]
    median: int | None
    largest: int | None
    hours: str
    near: tuple[str, str] | None = None


NOTHING: Final = Beside([], [], [], [], None, None, "")
"""Beside a run, whose items the station looks at."""


async def show(call: Call) -> Reply:
    """The queue, and its first request; on a phone the queue alone."""
    async with call.service.pool.acquire() as connection:
        queue, after = await _queue(connection, call)
        opened = queue[0] if queue else None
        beside, effects = await _beside(connection, call, opened)
    return _page(call, queue, opened, beside, effects, after, is_open=False)


async def show_one(call: Call) -> Reply:
    organisation = call.who.session.organisation
    async with call.service.pool.acquire() as connection:
        queue, after = await _queue(connection, call)
        opened = await console_pages.request(connection, organisation, call.parameters[0])
        if opened is None:
            raise WebError(404, "There is no such request.")
        beside, effects = await _beside(connection, call, opened)
    return _page(call, queue, opened, beside, effects, after, is_open=True)


async def confirm(call: Call) -> Reply:
    """What an approver confirmed in words, kept in the audit log before the station is opened."""
    visitor = call.who
    sentences = [text for name, text in sorted(call.form.items()) if name.startswith("sentence")]
    async with call.service.pool.acquire() as connection:
        opened = await console_pages.request(connection, visitor.session.organisation, call.parameters[0])
        if opened is None:
            raise WebError(404, "There is no such request.")
        beside, _ = await _beside(connection, call, opened)
        wanted = [flag.sentence for flag in beside.flags if flag.sentence]
        if sorted(wanted) != sorted(sentences):
            raise WebError(409, "Confirm every sentence on the page, or decline.")
        await console.act(
            connection, visitor.session.organisation, visitor.person.id, visitor.session.id, "confirm",
            opened.subject, "; ".join(sentences) or None, call.seat.network, call.now,
        )
        items = None
        if opened.subject.startswith("run_"):
            items = draw_token()
            expires = Instant(call.now + CHALLENGE_LIFE_MS)
            await console.challenge(connection, token_hash(items), "items", None, opened.subject, expires, call.now)
        link = approve_link(call, opened, items)
    return Reply(303, b"", headers=[(b"location", link.encode())])


async def _queue(connection: Session, call: Call) -> tuple[list[Waiting], str | None]:
    text = call.request.query.get("after", "0")
    after = int(text) if text.isdecimal() and len(text) < 19 else 0
    queue = await console_pages.waiting(connection, call.who.session.organisation, after, PAGE + 1)
    return queue[:PAGE], str(queue[PAGE - 1].position) if len(queue) > PAGE else None


async def _beside(connection: Session, call: Call, opened: Waiting | None) -> tuple[Beside, list[Any]]:
    if opened is None:
        return NOTHING, []
    effects = await wallets.read_wallets(connection, call.who.session.organisation)
    shown = json.loads(opened.request)
    if shown["kind"] != "payout":
        return NOTHING, effects
    leaf = await console_pages.leaf_of(connection, opened.subject) or 0
    past = await console_pages.past(connection, shown["beneficiary"], leaf)
    versions = await console_pages.versions(connection, shown["beneficiary"])
    near = await _near(connection, call, shown["destination"])
    asked = Asked(
        int(shown["amount"]), shown["asset"], opened.reference_minor, shown["destination"]["address"],
        shown["destination"]["network"], shown["destination"]["name"], opened.created_at, near,
    )
    sent = [each for each in past if each.state in SENT]
    names = [call.who.mirror.name(each.declared_by) for each in versions]
    hours = sorted({each.created_at // HOUR_MS % 24 for each in sent})
    return Beside(
        past, versions, flags_of(asked, past, versions, names),
        dots([
            *((each.created_at, each.reference_minor, each.external_id) for each in reversed(sent)),
            (opened.created_at, opened.reference_minor, "this payout"),
        ], 520, 70),
        median_high([each.reference_minor for each in sent]) if sent else None,
        max((each.reference_minor for each in sent), default=None),
        f"{hours[0]:02d}–{hours[-1]:02d} h UTC" if hours else "", near,
    ), effects


async def _near(connection: Session, call: Call, destination: dict[str, Any]) -> tuple[str, str] | None:
    """A known address that this one resembles, and whose it is."""
    network, address = destination["network"], destination["address"]
    end = ends(network, address)
    if end is None:
        return None
    known = await console_pages.addresses_ending(connection, call.who.session.organisation, network, end)
    found = look_alike(network, address, [each for each, _ in known])
    return None if found is None else (found.known, next(name for each, name in known if each == found.known))


def _page(
    call: Call, queue: list[Waiting], opened: Waiting | None, beside: Beside, effects: list[Any],
    after: str | None, *, is_open: bool,
) -> Reply:
    shown = json.loads(opened.request) if opened is not None else None
    digest = b"" if opened is None else record_hash(APPROVAL_REQUEST_TYPE, opened.request)
    why_not = _why_not(call, opened, shown) if opened is not None and shown is not None else None
    return call.page(
        "approvals.html", queue=queue, opened=opened, shown=shown, beside=beside, is_open=is_open, why_not=why_not,
        next=None if after is None else f"/approvals?after={after}",
        decline=None if opened is None or why_not else instruct_link(call, Action.DECLINE, opened.subject),
        digest=digest.hex(), phrase=phrase(digest),
        wallet=_wallet(effects, shown), rule=_rule(call, opened),
        still=[] if shown is None or opened is None else _still(call, opened, shown),
    )


def _wallet(effects: list[Any], shown: dict[str, Any] | None) -> Any:
    if shown is None or shown["kind"] != "payout":
        return None
    return next((each for each in effects if each.asset == shown["asset"]), None)


def _rule(call: Call, opened: Waiting | None) -> str:
    """Why so many people."""
    if opened is None:
        return ""
    policy = call.who.mirror.policy
    for number, tier in enumerate(policy.tiers, 1):
        if opened.reference_minor <= tier.up_to_reference_minor:
            up_to = f"{policy.reference_currency} {tier.up_to_reference_minor // 100:,}"
            return f"tier {number} of policy {policy.version}, up to {up_to}"
    return f"policy {policy.version}"


def _still(call: Call, opened: Waiting, shown: dict[str, Any]) -> list[str]:
    """Who may still approve, by the roster that is mirrored."""
    gone = {person for person, _ in opened.people} | set(shown["excluded"])
    people = call.who.mirror.roster.people
    return [each.name for each in people if Duty.APPROVALS_GIVE in duties_of(each.roles) and each.id not in gone]


def _why_not(call: Call, opened: Waiting, shown: dict[str, Any]) -> str | None:
    """Why this person can't approve this request, if they can't. The signer decides; this spares a vain try."""
    person = call.who.person.id
    if Duty.APPROVALS_GIVE not in call.who.duties:
        return "Your roles don't include approving."
    if person in shown["excluded"]:
        return "You asked for it, named its destination, or hold the key that did: your approval wouldn't count."
    if any(each == person for each, _ in opened.people):
        return "You have approved it."
    if not opened.is_newest:
        return "The signer has made a newer request for it."
    if shown["expires_ms"] <= call.now:
        return "The request has expired; the signer makes another."
    if opened.items == 0:
        return "It doesn't wait for people any more."
    return None

