"""What the console has is exactly one table: each address, what it takes, and for each role whether it may.

A route that isn't listed here fails, so nobody adds one without saying who may use it.
"""

import pytest
from tests.console.world import STATION as STATION_ORIGIN
from tests.console.world import World
from tools.duties_doc import FILE, text

from strongroom.console.call import OWN, PUBLIC, STATION
from strongroom.console.duties import GRANTS, NEEDS, TAKES_AWAY, Duty, Way, duties_of
from strongroom.console.routes import ROUTES
from strongroom.protocol.roster import Role

TABLE = """
GET  /                          overview:see
GET  /approvals                 approvals:see
POST /approvals/{request}/confirm approvals:give
GET  /approvals/{request}       approvals:see
GET  /audit                     audit:see
GET  /audit/{leaf}              audit:see
GET  /beneficiaries             beneficiaries:see
GET  /beneficiaries/{beneficiary} beneficiaries:see
GET  /changes                   policy:see
POST /changes                   policy:change
GET  /changes/{change}          policy:see
GET  /confirm-network           own
POST /confirm-network           own
GET  /exceptions                exceptions:see
GET  /find                      payouts:find
GET  /freeze                    freeze
GET  /invited/{token}           public
POST /invited/{token}           public
GET  /keys                      keys:see
GET  /live                      overview:see
GET  /payouts                   payouts:see
POST /payouts/ask               payouts:ask
GET  /payouts/{payout}          payouts:see
GET  /people                    people:see
POST /people/approval-passkey   sessions:own
POST /people/consent            people:invite
POST /people/end-passkey        people:invite
POST /people/invite             people:invite
GET  /policy                    policy:see
GET  /runs/{run}                payouts:see
GET  /sessions                  sessions:own
POST /sessions/end              sessions:own
POST /sessions/end-others       sessions:end
GET  /sign-in                   public
POST /sign-in                   public
POST /sign-in/challenge         public
POST /sign-in/hand-off          public
GET  /sign-in/{token}           public
POST /sign-out                  own
POST /station/approve           station
POST /station/change            station
POST /station/enrol             station
POST /station/instruct          station
POST /station/intent            station
GET  /station/items/{token}     station
POST /step-up                   own
GET  /treasury                  treasury:see
"""
LISTED = {tuple(line.split()) for line in TABLE.strip().splitlines()}


def test_every_route_stands_in_the_table_and_none_besides() -> None:
    assert {(route.method, route.path, str(route.duty)) for route in ROUTES} == LISTED


def test_every_role_has_a_row_and_every_duty_a_way_and_somebody() -> None:
    assert set(GRANTS) == set(Role)
    assert set(NEEDS) == set(Duty)
    assert frozenset().union(*GRANTS.values()) == set(Duty)


def test_what_moves_money_or_says_where_it_goes_takes_an_assertion() -> None:
    assert {duty for duty, way in NEEDS.items() if way is Way.ASSERTION} == {
        Duty.APPROVALS_GIVE, Duty.PAYOUTS_ASK, Duty.BENEFICIARIES_CHANGE, Duty.POLICY_CHANGE, Duty.FREEZE,
        Duty.UNFREEZE,
    }


def test_no_role_asks_and_approves_and_admins_approve_nothing_whatever_else_they_are() -> None:
    for role in Role:
        assert not {Duty.PAYOUTS_ASK, Duty.APPROVALS_GIVE} <= duties_of([role])
        assert not {Duty.POLICY_CHANGE, Duty.APPROVALS_GIVE} <= duties_of([role])
    assert Duty.APPROVALS_GIVE not in duties_of([Role.ADMIN, Role.APPROVER])
    assert Duty.POLICY_CHANGE not in duties_of([Role.OPERATOR, Role.OFFICER])
    assert duties_of([]) == frozenset()
    assert set(TAKES_AWAY) <= set(Role)


@pytest.mark.parametrize("login", ["ada", "ben", "cleo", "dan", "eve", "finn"])
def test_each_person_sees_what_their_roles_grant_and_is_refused_the_rest(world: World, login: str) -> None:
    visitor = world.signed_in(login)
    roles = [Role(each) for each in world.person(login)["roles"]]
    granted = {str(each) for each in duties_of(roles)}
    for method, path, duty in sorted(LISTED):
        if method != "GET" or "{" in path or duty in (PUBLIC, OWN, STATION) or path == "/live":
            continue
        status = visitor.get(path).status_code
        assert status == (200 if duty in granted else 403), f"{login} {path}"
    refused = [act for act in world.acts() if act == "refused"]
    assert len(refused) == len([1 for method, path, duty in LISTED if method == "GET" and "{" not in path
                                and duty not in (PUBLIC, OWN, STATION, *granted)])


def test_without_a_session_nothing_but_the_doors_answers(world: World) -> None:
    """No money route answers 2xx: neither without a session, nor with a cookie that is none."""
    for cookie in (None, "guessed"):
        nobody = world.visitor()
        nobody.cookie = cookie
        for method, path, duty in sorted(LISTED):
            if duty == PUBLIC:
                continue
            headers = {"origin": STATION_ORIGIN} if duty == STATION else {}
            answer = nobody.send(method, path.replace("{", "").replace("}", ""), headers=headers)
            assert answer.status_code >= 300, f"{method} {path}: {answer.status_code}"


def test_a_file_of_the_audit_log_takes_a_duty_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    finn = world.signed_in("finn")
    assert finn.get("/audit?as=csv").headers["content-type"].startswith("text/csv")
    monkeypatch.setitem(GRANTS, Role.AUDITOR, GRANTS[Role.AUDITOR] - {Duty.AUDIT_EXPORT})
    assert finn.get("/audit").status_code == 200
    assert [finn.get(f"/audit?as={kind}").status_code for kind in ("csv", "jsonl")] == [403, 403]


def test_what_isnt_there_is_no_page(world: World) -> None:
    ada = world.signed_in()
    assert ada.get("/nothing").status_code == 404
    assert ada.send("DELETE", "/payouts").status_code == 405
    assert ada.get("/payouts/po_x").status_code == 404
    assert ada.get("/payouts?state=nothing").status_code == 400


def test_the_table_that_people_read_is_that_which_decides() -> None:
    assert FILE.read_text() == text(), "run python -m tools.duties_doc"
