"""The commands about policies, as a person runs them: what they say, in 80 columns and as JSON, and their codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import Done, command
from tests.cli.conftest import ADDRESS, NETWORK, Sandbox

from strongroom.advice.bound import Attacker
from strongroom.cli.app import main
from strongroom.domain.ids import OrganisationId
from strongroom.protocol.canonical import encode
from strongroom.protocol.standing import policy_hash
from strongroom.sandbox.organisation import assets_of, make_organisation, policy_document

ROOT = Path(__file__).parents[2]
CASES = ROOT / "examples/policy-cases.json"
ORGANISATION = OrganisationId("org_" + "a" * 26)

Write = Callable[..., str]
Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """In this process, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*line: str) -> Done:
        code = main(["policy", *line])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        too_wide = [each for each in said.out.splitlines() if len(each) > 80 and " " in each.strip()]
        assert too_wide == [] or "--json" in line
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """The sandbox's policy with changes, in a file."""

    def write(name: str = "policy.json", **changes: Any) -> str:
        document = {**policy_document(ORGANISATION, assets_of({}, ["bitcoin"])), **changes}
        file = tmp_path / name
        file.write_bytes(encode(document))
        return str(file)

    return write


def tier(up_to: int, approvals: int, groups: int) -> dict[str, Any]:
    return {"up_to_reference_minor": str(up_to), "approvals": approvals, "groups": groups}


TIGHT = [tier(10_000, 0, 0), tier(25_000_000, 2, 2)]


def test_check_warns_and_is_done(run: Run, write: Write) -> None:
    done = run("check", write())
    assert done.code == 0
    assert "nothing is wrong; " in done.out
    assert "cooling_off_ms.declared\n    is 5 seconds: nobody notices" in done.out
    found = run("check", write(), "--json").json()
    assert found["problems"] == []
    assert "wallets[0].treasury" in [each["field"] for each in found["warnings"]]
    assert run("check", write(), "--strict").code == 1


def test_check_names_every_problem_and_fails(run: Run, write: Write) -> None:
    file = write(risk={}, reference_currency=5, colour="red")
    done = run("check", file)
    assert done.code == 1
    assert f"{file}: 4 problems; no signer takes it" in " ".join(done.out.split())
    assert [each["field"] for each in run("check", file, "--json").json()["problems"]] == [
        "colour", "reference_currency", "risk.above_reference_minor", "risk.young_for_ms",
    ]


def test_check_and_bound_look_at_the_people_too(run: Run, tmp_path: Path) -> None:
    made = make_organisation(tmp_path / "keys", "Example", assets_of({}, ["bitcoin"]))
    folder = tmp_path / "keys" / made.new.id
    options = (str(folder / "policy.json"), "--roster", str(folder / "roster.json"))
    assert (folder / "policy.json").read_bytes() == made.new.policy
    done = run("check", *options)
    assert done.code == 0
    assert "nobody is paid when Ada Example or Ben Example is" in done.out
    assert "governance.group" not in run("check", options[0]).out
    assert run("bound", *options).code == 0
    (folder / "roster.json").write_text("{}")
    done = run("check", *options)
    assert (done.code, "roster.json: " in done.err) == (1, True)


def test_bound_is_one_page_and_the_same_as_json(run: Run, write: Write) -> None:
    done = run("bound", write())
    assert done.code == 0
    assert done.out.count("\n") <= 66, "a page"
    assert all(each.value in done.out for each in Attacker)
    assert "a client's payout and declare keys          100,000.00  100,000.00" in done.out
    assert "BTC    0.66666666      0.66666666  0.66666666     0.06666666" in done.out
    found = run("bound", write(), "--json").json()
    assert [each["attacker"] for each in found["attackers"]] == [each.name.lower() for each in Attacker]
    key = found["attackers"][1]
    assert key["own_address"]["reference_minor"] == "0"
    assert key["elsewhere"]["reference_minor"] == "10000000"
    assert list(key["elsewhere"]["native"].values()) == ["66666666"]
    assert key["elsewhere"]["because"] == "'B: unattended, a day' and 'K: one client, a day'"
    assert found["attackers"][-1]["own_address"]["reference_minor"] is None
    few = run("bound", write(), "--destinations", "3", "--json").json()
    assert few["attackers"][1]["elsewhere"]["reference_minor"] == "75000"


def test_bound_says_where_there_is_none(run: Run, write: Write) -> None:
    limits = [{"name": "people", "scope": "organisation", "counts": "attended", "span_ms": 86_400_000,
               "maximum_reference_minor": "1"}]
    done = run("bound", write(limits=limits))
    assert "no limit adds it up: all that the wallets hold" in " ".join(done.out.split())
    assert "no bound" in done.out


def test_diff_marks_what_gets_looser_and_what_it_is_worth(run: Run, write: Write) -> None:
    old = write("old.json")
    new = write(
        "new.json", version=2, previous=policy_hash(Path(old).read_bytes()), fee_budget_reference_minor="2000000",
        tiers=TIGHT,
    )
    done = run("diff", old, new)
    assert done.code == 0
    assert "LOOSER   fee_budget_reference_minor\n         10,000.00 USD -> 20,000.00 USD" in done.out
    assert "tighter  tiers: above 100.00 USD to 250.00 USD\n         nobody -> 2 people of 2 groups" in done.out
    assert "1 looser, 2 tighter, 0 to look at" in done.out
    assert "10,000.00   20,000.00  MORE" in done.out
    assert "doesn't take it" not in done.out
    found = run("diff", old, new, "--json").json()
    assert (found["follows"], found["why_not"]) == (True, None)
    assert {"attacker": "engine", "where": "own_address", "before_reference_minor": "1000000",
            "after_reference_minor": "2000000"} in found["bounds"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"organisation": "org_" + "b" * 26}, "it is of another organisation"),
        ({"version": 3}, "its version is 3, and must be 2"),
        ({"version": 2}, "its `previous` must be "),
    ],
)
def test_diff_says_why_a_signer_would_not_take_the_new_one(
    run: Run, write: Write, changes: dict[str, Any], why: str
) -> None:
    found = run("diff", write("old.json"), write("new.json", **changes), "--json").json()
    assert found["follows"] is False
    assert found["why_not"].startswith(why)
    assert "The signer doesn't take it as the next version" in run(
        "diff", write("old.json"), write("new.json", **changes)
    ).out


def test_diff_of_the_same_says_so(run: Run, write: Write) -> None:
    assert "Nothing differs." in run("diff", write("old.json"), write("new.json")).out


def test_the_cases_of_the_example_pass_and_fail_by_another_policy(run: Run, write: Write) -> None:
    passed = run("test", write(), str(CASES))
    assert (passed.code, "9 passed, 0 failed" in passed.out) == (0, True)
    failed = run("test", write(tiers=TIGHT), str(CASES))
    assert failed.code == 1
    assert "FAILED  240 USD to a destination that is known needs nobody" in failed.out
    assert "        expected nobody\n        got      2 people of 2 groups" in failed.out
    found = run("test", write(tiers=TIGHT), str(CASES), "--json").json()
    assert found["failed"] == sum(not each["passed"] for each in found["cases"]) > 0
    assert found["passed"] + found["failed"] == 9


def row(number: int, sat: int, minutes: int, **changes: Any) -> dict[str, Any]:
    btc = assets_of({}, ["bitcoin"])["BTC"]
    return {
        "id": "po_" + f"{number}".rjust(26, "a"), "client": "cl_" + "c" * 26, "asset": btc, "amount": str(sat),
        "created_at": f"2026-11-24T10:{minutes:02d}:00.000Z", "run": None, "state": "settled",
        "destination": {"digest": str(number), "network": btc.partition("/")[0], "address": str(number),
                        "class": "allowlisted", "created_at": "2026-01-01T00:00:00.000Z"},
    } | changes


def test_simulate_says_what_another_policy_would_have_done(run: Run, write: Write, tmp_path: Path) -> None:
    rows = [row(1, 60_000, 0), row(2, 100_000, 1), row(3, 10**9, 2), row(4, 1_000, 3, state="held")]
    payouts = tmp_path / "payouts.json"
    payouts.write_text(json.dumps(rows))
    old, new = write("old.json"), write("new.json", tiers=TIGHT)
    done = run("simulate", new, "--payouts", str(payouts), "--running", old)
    assert done.code == 0
    assert "4 payouts, 2026-11-24 10:00 to 2026-11-24 10:03 UTC" in done.out
    assert ["more", "people", "1", "150.00"] in [each.split() for each in done.out.splitlines()]
    assert f"{rows[1]['id']}  150.00 USD\n    nobody -> 2 people of 2 groups" in done.out
    assert "Recorded as: 3 settled, 1 held." in done.out
    payouts.write_text(json.dumps({"data": rows, "next_cursor": None}))
    found = run("simulate", new, "--payouts", str(payouts), "--running", old, "--json").json()
    assert found["effects"]["same"]["payouts"] == 3
    assert [each["payout"] for each in found["changed"]] == [rows[1]["id"]]
    assert found["changed"][0]["new"] == {"refused": None, "approvals": 2, "groups": 2, "waited_ms": 0, "limit": None}


def test_simulate_says_how_long_something_would_have_waited(run: Run, write: Write, tmp_path: Path) -> None:
    payouts = tmp_path / "payouts.json"
    payouts.write_text(json.dumps([row(1, 100_000, 0), row(2, 100_000, 30)]))
    hour = {"name": "hour", "scope": "organisation", "counts": "all", "span_ms": 3_600_000,
            "maximum_reference_minor": "20000"}
    done = run("simulate", write("new.json", limits=[hour]), "--payouts", str(payouts), "--running", write("old.json"))
    assert "nobody -> nobody, after 0 h 31 min" in done.out
    never = run("simulate", write("new.json", limits=[{**hour, "maximum_reference_minor": "1"}]), "--payouts",
                str(payouts), "--running", write("old.json"))
    assert "nobody -> nobody, held (limit_window: hour)" in never.out


def test_simulate_looks_back_from_the_newest_of_a_file(run: Run, write: Write, tmp_path: Path) -> None:
    payouts = tmp_path / "payouts.json"
    payouts.write_text(json.dumps([row(1, 1_000, 0, created_at="2026-11-22T10:00:00.000Z"), row(2, 1_000, 0)]))
    line = ("simulate", write("new.json"), "--payouts", str(payouts), "--running", write("old.json"), "--json")
    assert run(*line).json()["payouts"] == 2
    assert run(*line, "--days", "1").json()["payouts"] == 1
    payouts.write_text("[]")
    assert "no payouts were recorded in that time" in run(*line[:-1]).out


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (("check", "{tmp}/none.json"), 3, "there is no file"),
        (("check", "{tmp}"), 1, "can't be read"),
        (("bound", "{bad}"), 1, "assets: is missing (and 13 more: "),
        (("bound", "{empty}"), 1, "isn't JSON"),
        (("diff", "{good}"), 2, "NEW"),
        (("diff", "{good}", "{bad}"), 1, "bad.json: "),
        (("test", "{good}", "{good}"), 1, "type: must be 'strongroom/policy-cases/v1'"),
        (("test", "{good}", "{twice}"), 1, "twice.json: the key 'a' stands there twice"),
        (("simulate", "{good}", "--payouts", "{good}", "--running", "{good}"), 1, "must be a list of payouts"),
        (("simulate", "{good}", "--payouts", "{rows}", "--running", "{good}"), 1, "payouts[0].destination: is missing"),
        (("simulate", "{good}", "--days", "0"), 2, "--days"),
        (("simulate", "{good}", "--payouts", "{good}", "--data", "{tmp}/none"), 5, "there is no sandbox"),
        (("bound", "--data", "{tmp}/none"), 5, "there is no sandbox"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    run: Run, write: Write, tmp_path: Path, line: tuple[str, ...], code: int, words: str
) -> None:
    for name, content in (("bad", '{"type": "strongroom/policy/v1"}'), ("empty", ""), ("twice", '{"a": 1, "a": 2}'),
                          ("rows", '[{"id": "po_1"}]')):
        (tmp_path / f"{name}.json").write_text(content)
    places = {name: str(tmp_path / f"{name}.json") for name in ("bad", "empty", "twice", "rows")}
    done = run(*(each.format(tmp=tmp_path, good=write("good.json"), **places) for each in line))
    assert done.code == code, done
    assert done.err.startswith("strongroom: ")
    assert done.err.count("\n") == 1
    assert words in done.err


def test_a_file_that_is_too_large_isnt_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * (2**20 + 1))
    done = run("check", str(tmp_path / "large.json"))
    assert (done.code, "more than 1048576 bytes" in done.err) == (1, True)


def test_payouts_of_another_organisation_are_noticed(run: Run, write: Write, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([row(1, 1_000, 0, asset="other")]))
    done = run("simulate", write(), "--payouts", str(tmp_path / "rows.json"), "--running", write())
    assert (done.code, "are they of this organisation?" in done.err) == (1, True)


def test_a_name_in_a_document_steers_no_terminal(run: Run, write: Write) -> None:
    limit = {"name": "a\x1b[31m", "scope": "organisation", "counts": "all", "span_ms": 86_400_000,
             "maximum_reference_minor": "1"}
    done = run("bound", write(limits=[limit]))
    assert "\x1b" not in done.out
    assert done.code == 0


def test_in_a_sandbox_its_own_policy_and_payouts_are_looked_at(
    sandbox: Sandbox, asked: list[str], tmp_path: Path
) -> None:
    assert sandbox("payout", "create", *asked).code == 0
    ours = sandbox.data / "keys" / sandbox.document["organisation"] / "policy.json"
    checked = sandbox("policy", "check", "--json")
    assert checked.code == 0, checked.err
    assert checked.json()["file"] == str(ours)
    assert "the station's host" in sandbox("policy", "bound").out
    document = json.loads(ours.read_bytes())
    document["tiers"] = [tier(25_000_000, 2, 2)]
    (tmp_path / "new.json").write_text(json.dumps(document))
    before = sandbox("policy", "simulate", str(tmp_path / "new.json"), "--json")
    assert before.code == 0, before.err
    assert sandbox("payout", "create", *asked[:-1], f"{asked[-1]} again").code == 0
    after = sandbox("policy", "simulate", str(tmp_path / "new.json"), "--json").json()
    # One more that needed nobody, and needs two people by the new policy.
    assert after["payouts"] == before.json()["payouts"] + 1
    assert after["effects"]["same"] == before.json()["effects"]["same"]
    same = sandbox("policy", "simulate", str(ours), "--json").json()
    assert same["effects"]["same"]["payouts"] == same["payouts"]
    assert NETWORK in {wallet["network"] for wallet in document["wallets"]}
    assert ADDRESS.startswith("sim1")


def test_the_real_program_ends_with_the_same_codes(write: Write) -> None:
    assert command("policy", "test", write(), str(CASES)).code == 0
    assert command("policy", "test", write(tiers=TIGHT), str(CASES)).code == 1
    assert command("policy", "check", write(version=0)).code == 1
