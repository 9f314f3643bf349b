"""Beneficiaries, payouts and runs by the command line, as tables and as JSON, against one real sandbox."""

import os
import pty
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import PROGRAM, Running, environment
from tests.cli.conftest import ADDRESS, NETWORK, Sandbox
from tests.sdk.hostile import Told, answering

NEEDS_APPROVAL = "30000000000"
"""300 USD in the simulated coin: it waits for people."""

Asked = list[str]
PayeeFile = Callable[..., Path]


def test_a_beneficiary_is_shown_listed_and_moved(sandbox: Sandbox, rosa: dict[str, Any]) -> None:
    shown = sandbox("beneficiary", "show", rosa["id"])
    assert shown.code == 0
    assert "Rosa Example" in shown.out
    assert rosa["destination"]["digest"] in shown.out
    assert sandbox("beneficiary", "show", rosa["id"], "--json").json() == rosa
    assert "rosa" not in sandbox("beneficiary", "list", "--external-id", "nobody").out
    listed = sandbox("beneficiary", "list", "--external-id", "rosa", "--json").json()
    assert [each["id"] for each in listed] == [rosa["id"]]


def test_a_bank_account_is_declared_by_its_parts(sandbox: Sandbox) -> None:
    done = sandbox(
        "beneficiary", "create", "--name", "Bank Example", "--network", "sepa", "--iban", "DE89370400440532013000",
        "--account-holder", "Bank Example", "--country", "DE",
    )
    assert done.code == 0, done.err
    assert "DE89370400440532013000 on sepa (version 1)" in done.out


def test_moving_to_where_one_is_paid_already_changes_nothing(sandbox: Sandbox, rosa: dict[str, Any]) -> None:
    line = ("beneficiary", "move", rosa["id"], "--network", NETWORK, "--address", ADDRESS, "--json")
    assert sandbox(*line).json()["destination"]["version"] == 1


def test_a_payout_is_previewed_asked_for_shown_listed_and_cancelled(sandbox: Sandbox, asked: Asked) -> None:
    preview = sandbox("payout", "preview", *asked)
    assert preview.code == 0, preview.err
    assert "left" in preview.out
    assert "fee" in preview.out
    assert sandbox("payout", "preview", *asked, "--json").json()["approvals"]["count"] == 0
    asked[asked.index("--amount") + 1] = NEEDS_APPROVAL
    made = sandbox("payout", "create", *asked, "--idempotency-key", f"key {asked[-1]}".replace(" ", "-"), "--json")
    assert made.code == 0, made.err
    payout = made.json()["id"]
    shown = sandbox("payout", "show", payout)
    assert "settlement" in shown.out
    assert asked[-1] in shown.out
    assert sandbox("payout", "show", payout, "--json").json()["id"] == payout
    listed = sandbox("payout", "list", "--external-id", asked[-1])
    assert payout in listed.out
    assert len(sandbox("payout", "list", "--limit", "1", "--json").json()) == 1
    cancelled = sandbox("payout", "cancel", payout, "--idempotency-key", f"key {asked[-1]}".replace(" ", "-"))
    assert cancelled.code == 0, cancelled.err
    assert "cancel requested" in cancelled.out


def test_the_same_key_again_is_the_same_payout(sandbox: Sandbox, asked: Asked) -> None:
    first, second = (sandbox("payout", "create", *asked, "--idempotency-key", asked[-1].replace(" ", "-"), "--json")
                     for _ in range(2))
    assert first.json()["id"] == second.json()["id"]


def test_a_payout_by_table_says_what_is_next(sandbox: Sandbox, asked: Asked) -> None:
    done = sandbox("payout", "create", *asked)
    assert done.code == 0, done.err
    assert "amount       1000 " in done.out
    assert "next" in done.out


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        (["--amount", "0"], 2, "amount: must be base units"),
        (["--amount", "0.5"], 2, "amount: must be base units"),
        (["--amount", "9" * 60], 4, "amount"),
        (["--asset", "iso4217:XXX"], 4, "asset"),
        (["--asset", "EUR"], 4, "network_mismatch"),
        (["--beneficiary", "ben_" + "a" * 26], 3, "ben_aaa"),
        (["--beneficiary", "nobody"], 3, "nobody"),
        (["--idempotency-key", "two words"], 2, "idempotency_key"),
    ],
)
def test_a_refusal_names_field_and_reason_in_one_sentence(
    sandbox: Sandbox, asked: Asked, change: list[str], code: int, named: str
) -> None:
    given = dict(zip(asked[::2], asked[1::2], strict=True)) | dict([change])
    done = sandbox("payout", "create", *(part for pair in given.items() for part in pair))
    assert done.code == code, done
    assert named in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("line", [["payout", "show", "po_" + "a" * 26], ["run", "show", "run_" + "a" * 26],
                                  ["payout", "show", "../../x"], ["beneficiary", "show", "x"]])
def test_what_is_not_there_exits_with_3(sandbox: Sandbox, line: list[str]) -> None:
    done = sandbox(*line)
    assert (done.code, done.out) == (3, "")


def test_a_file_is_imported_as_one_sealed_run_and_followed_to_its_end(
    sandbox: Sandbox, payee_file: PayeeFile
) -> None:
    file = payee_file()
    done = sandbox("run", "import", str(file), "--external-id", "June")
    assert done.code == 0, done
    assert "3 settled" in done.out
    again = sandbox("payout", "import", str(file), "--external-id", "June", "--json")
    assert again.code == 0, again.err
    run = again.json()["run"]["id"]
    assert run in done.out, "the same file again is the same run"
    assert [(row["row"], row["state"]) for row in again.json()["rows"]] == [
        (2, "settled"), (3, "settled"), (4, "settled")
    ]
    assert run in sandbox("run", "show", run).out
    assert sandbox("run", "show", run, "--json").json()["external_id"] == "June"
    assert len(sandbox("payout", "list", "--run", run, "--json").json()) == 3
    refused = sandbox("run", "cancel", run, "--idempotency-key", "another")
    assert refused.code == 3, refused


def test_what_waits_exits_with_7_and_says_so(sandbox: Sandbox, payee_file: PayeeFile) -> None:
    """An amount that people must approve, and nobody does."""
    big = payee_file(f"Big Example,{NETWORK},{ADDRESS},SIM,{NEEDS_APPROVAL},big {time.time_ns()}")
    done = sandbox("run", "import", str(big))
    assert done.code == 7, done
    assert "settled" not in done.out
    assert "1 of 1 are recorded and not paid yet" in done.err


def test_a_run_is_cancelled_with_the_key_that_it_was_made_with(sandbox: Sandbox, payee_file: PayeeFile) -> None:
    made = sandbox("run", "import", str(payee_file()), "--idempotency-key", "payday-1", "--no-follow", "--json")
    assert made.code in (0, 7), made.err
    run = made.json()["run"]["id"]
    done = sandbox("run", "cancel", run, "--idempotency-key", "payday-1", "--json")
    assert (done.code, done.json()["state"]) == (0, "cancel_requested")


@pytest.mark.parametrize(
    ("header", "rows", "named"),
    [
        ("name,network,address,asset,amount", ["a,b,c,d,1"], "lacks the column external_id"),
        ("beneficiary,asset,amount,external_id,colour", [], "colour"),
        ("beneficiary;asset;amount;external_id", [], "semicolons"),
        ("beneficiary,asset,amount,external_id", ["ben_x,SIM,1.5,a"], "row 2: amount: must be base units"),
        ("beneficiary,asset,amount,external_id", ["ben_x,BTC"], "row 2"),
    ],
)
def test_a_file_with_a_fault_sends_nothing_and_names_the_row(
    sandbox: Sandbox, payee_file: PayeeFile, header: str, rows: list[str], named: str
) -> None:
    file = payee_file(*(rows or [""]), header=header)
    done = sandbox("run", "import", str(file))
    assert done.code == 4, done
    assert named in done.err


def test_a_payee_that_is_refused_is_named_by_row_and_no_run_is_sent(sandbox: Sandbox, payee_file: PayeeFile) -> None:
    file = payee_file(f"Good Example,{NETWORK},{ADDRESS},SIM,1,good", f"Bad Example,{NETWORK},sim1nonsense,SIM,1,bad")
    done = sandbox("run", "import", str(file))
    assert done.code == 4
    assert "row 3: address_invalid" in done.err
    assert "no run was sent" in done.err


def test_a_file_that_is_not_there_exits_with_3(sandbox: Sandbox) -> None:
    done = sandbox("run", "import", "/nonexistent.csv")
    assert done.code == 3
    assert "/nonexistent.csv" in done.err


def test_an_interrupted_import_says_what_was_sent(sandbox: Sandbox, payee_file: PayeeFile) -> None:
    fresh = payee_file(f"Waiting {time.time_ns()},{NETWORK},{ADDRESS},SIM,1,w {time.time_ns()}")
    running = Running("run", "import", str(fresh), "--data", str(sandbox.data))
    running.wait_for("cooled off")
    done = running.interrupt()
    assert done.code == 1, done
    assert "interrupted: payees may have been declared; no run was sent" in done.out
    assert "Traceback" not in done.out


def test_a_terminal_gets_a_progress_bar(sandbox: Sandbox, payee_file: PayeeFile, rosa: dict[str, Any]) -> None:
    file = payee_file(f"{rosa['id']},SIM,1000,bar {time.time_ns()}", header="beneficiary,asset,amount,external_id")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "run", "import", str(file), "--data", str(sandbox.data)], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=theirs, env=environment(),
    )
    assert process.wait(60) in (0, 7)
    os.close(theirs)
    drawn = os.read(ours, 10_000).decode()
    assert f"[{'#' * 24}] 1 of 1 payees known" in drawn
    assert "of 1 payouts settled" in drawn
    os.close(ours)


def test_a_name_cannot_steer_the_terminal(sandbox: Sandbox, tmp_path: Path) -> None:
    """The attacker answers for the API and wants the operator's terminal to show what it likes."""
    hostile = {"code": "invalid", "detail": "\x1b[2J\x1b]0;owned\x07 \u202eevil\x9b31m", "status": 422}
    with answering(lambda _: Told(422, hostile)) as server:
        done = sandbox.but(tmp_path, api_url=server.url)("payout", "show", "po_1")
    assert done.code == 4
    assert done.err.rstrip("\n").isprintable()
    assert "\\u001b[2J" in done.err


def test_an_api_that_lies_exits_with_10(sandbox: Sandbox, tmp_path: Path) -> None:
    with answering(lambda _: Told(200, {"id": "po_2"})) as server:
        done = sandbox.but(tmp_path, api_url=server.url)("payout", "show", "po_1")
    assert done.code == 10
    assert "isn't to be believed" in done.err


def test_an_api_that_cannot_be_reached_exits_with_5_and_says_how_to_ask_again(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with answering(lambda _: Told()) as server:
        pass
    done = sandbox.but(tmp_path, api_url=server.url)(
        "beneficiary", "create", "--name", "x", "--network", "y", "--address", "z", "--idempotency-key", "mine"
    )
    assert done.code == 5
    assert "can't reach" in done.err
    assert "--idempotency-key mine" in done.err


def test_any_call_is_signed_and_sent_byte_for_byte(sandbox: Sandbox, tmp_path: Path) -> None:
    listed = sandbox("api", "GET", "/v1/payouts?limit=1")
    assert listed.code == 0, listed.err
    assert set(listed.json()) == {"data", "next_cursor"}
    assert sandbox("api", "GET", "/v1/audit/checkpoint").out.startswith("strongroom/")
    refused = sandbox("api", "POST", "/v1/payouts", "-d", '{"amount": 1}')
    assert refused.code == 4
    file = tmp_path / "body.json"
    destination = f'{{"network":"{NETWORK}","address":"{ADDRESS}"}}'
    file.write_text(f'{{ "name":"Verbatim Example", "destination":{destination} }}')
    line = ("api", "POST", "/v1/beneficiaries", "--client", "beneficiaries", "--idempotency-key", "verbatim", "-d")
    assert sandbox(*line, f"@{file}").code == 0
    assert sandbox(*line, "@-", stdin=file.read_bytes()).code == 0
    spaced = sandbox(*line, "@-", stdin=file.read_bytes() + b" ")
    assert "only the bytes" in spaced.err
    assert sandbox("api", "GET", "/v1/nothing").code == 3
    assert sandbox("api", "GET", "/v1/payouts", "--client", "nobody").code == 2
