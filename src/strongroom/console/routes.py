"""The one table of what the console has: every address names what it takes, and one that doesn't isn't found."""

import re
from typing import Final

from strongroom.console.call import OWN, PUBLIC, STATION, Route
from strongroom.console.duties import Duty
from strongroom.console.pages import (
    approvals,
    asking,
    beneficiaries,
    changes,
    freeze,
    live,
    overview,
    payouts,
    people,
    safety,
    sign_in,
    station,
)
from strongroom.console.step_up import NETWORK
from strongroom.console.web import Request, WebError

ROUTES: Final = (
    Route("GET", "/sign-in", PUBLIC, sign_in.show),
    Route("POST", "/sign-in/challenge", PUBLIC, sign_in.challenge),
    Route("POST", "/sign-in", PUBLIC, sign_in.sign_in, "sign_in"),
    Route("POST", "/sign-in/hand-off", PUBLIC, sign_in.hand_off, "sign_in"),
    Route("GET", "/sign-in/{token}", PUBLIC, sign_in.follow, "sign_in"),
    Route("GET", "/invited/{token}", PUBLIC, sign_in.invited),
    Route("POST", "/invited/{token}", PUBLIC, sign_in.enrol, "enrol"),
    Route("POST", "/sign-out", OWN, sign_in.sign_out, "sign_out"),
    Route("POST", "/step-up", OWN, sign_in.step_up),
    Route("GET", "/confirm-network", OWN, sign_in.confirm_network),
    Route("POST", "/confirm-network", OWN, sign_in.network_confirmed, NETWORK),
    Route("GET", "/live", Duty.OVERVIEW_SEE, live.show),
    Route("GET", "/", Duty.OVERVIEW_SEE, overview.show),
    Route("GET", "/approvals", Duty.APPROVALS_SEE, approvals.show),
    Route("GET", "/approvals/{request}", Duty.APPROVALS_SEE, approvals.show_one),
    Route("POST", "/approvals/{request}/confirm", Duty.APPROVALS_GIVE, approvals.confirm, "confirm"),
    Route("GET", "/payouts", Duty.PAYOUTS_SEE, payouts.show),
    Route("POST", "/payouts/ask", Duty.PAYOUTS_ASK, asking.ask, "ask for a payout"),
    Route("GET", "/payouts/{payout}", Duty.PAYOUTS_SEE, payouts.show_one),
    Route("GET", "/runs/{run}", Duty.PAYOUTS_SEE, payouts.show_run),
    Route("GET", "/find", Duty.PAYOUTS_FIND, payouts.find),
    Route("GET", "/exceptions", Duty.EXCEPTIONS_SEE, payouts.exceptions),
    Route("GET", "/beneficiaries", Duty.BENEFICIARIES_SEE, beneficiaries.show),
    Route("GET", "/beneficiaries/{beneficiary}", Duty.BENEFICIARIES_SEE, beneficiaries.show_one),
    Route("GET", "/treasury", Duty.TREASURY_SEE, safety.treasury),
    Route("GET", "/policy", Duty.POLICY_SEE, safety.policy),
    Route("GET", "/keys", Duty.KEYS_SEE, safety.keys),
    Route("GET", "/audit", Duty.AUDIT_SEE, safety.audit_log),
    Route("GET", "/audit/{leaf}", Duty.AUDIT_SEE, safety.leaf),
    Route("GET", "/sessions", Duty.SESSIONS_OWN, people.sessions),
    Route("POST", "/sessions/end", Duty.SESSIONS_OWN, people.end_own, "end my session"),
    Route("POST", "/sessions/end-others", Duty.SESSIONS_END, people.end_others, "end sessions"),
    Route("GET", "/people", Duty.PEOPLE_SEE, people.show),
    Route("POST", "/people/invite", Duty.PEOPLE_INVITE, people.invite, "invite"),
    Route("POST", "/people/consent", Duty.PEOPLE_INVITE, people.consent, "consent"),
    Route("POST", "/people/end-passkey", Duty.PEOPLE_INVITE, people.end_credential, "end passkey"),
    Route("POST", "/people/approval-passkey", Duty.SESSIONS_OWN, changes.begin_enrolment, "make an approval passkey"),
    Route("GET", "/changes", Duty.POLICY_SEE, changes.show),
    Route("GET", "/changes/{change}", Duty.POLICY_SEE, changes.show_one),
    Route("POST", "/changes", Duty.POLICY_CHANGE, changes.propose, "propose a change", body_maximum=2 * 2**20),
    Route("POST", "/station/intent", STATION, asking.take),
    Route("POST", "/station/change", STATION, changes.agree),
    Route("POST", "/station/enrol", STATION, changes.enrol),
    Route("GET", "/freeze", Duty.FREEZE, freeze.show),
    Route("GET", "/station/items/{token}", STATION, station.items),
    Route("POST", "/station/approve", STATION, station.approve),
    Route("POST", "/station/instruct", STATION, station.instruct),
)

_PATTERNS: Final = [
    (route, re.compile(re.sub(r"\{\w+\}", "([A-Za-z0-9_.:-]{1,160})", route.path))) for route in ROUTES
]


def find_route(request: Request) -> tuple[Route, tuple[str, ...]]:
    """The route and what its path names. Raises: WebError."""
    methods: set[str] = set()
    wanted = "GET" if request.method == "HEAD" else request.method
    found: tuple[Route, tuple[str, ...]] | None = None
    for route, pattern in _PATTERNS:
        match = pattern.fullmatch(request.path)
        if match is None:
            continue
        if route.method == wanted:
            return route, match.groups()
        methods.add(route.method)
        found = route, match.groups()
    if request.method == "OPTIONS" and found is not None:
        return found
    if methods:
        raise WebError(405, f"This address takes {', '.join(sorted(methods))}.")
    raise WebError(404, "There is no such page.")
