"""Attacks by whoever owns PostgreSQL: it can take triggers away, write every row, and put yesterday's files back.

The engine is honest and at work, so what is written is what it goes by. Officers resolve every alarm that is raised.
"""

import secrets
import shutil
import subprocess
from pathlib import Path

from tests.adversary.attacks import GATE, ONCE_OUT, budgets
from tests.adversary.build import Patch
from tests.adversary.firm import found
from tests.adversary.ground import Ground
from tests.adversary.plunder import LARGE, OWN, WITH_PEOPLE, Case, Control, Loss, policy, takings
from tests.signer.world import payee

from strongroom.advice.bound import Attacker

TWICE = 8_000
"""So small that two of it to one address in a day need nobody."""
OUTPUTS_OUT = Patch(GATE, " or output != (place[1], due.minor):", ":")


def database_redirects_payouts(ground: Ground) -> Loss:
    """The attacker has the database, wants honest payouts at its own address, and more of them; the bound is 0. It
    changes addresses, the signed requests beside them, amounts, and the destinations that payouts name.
    """
    firm = found(ground, policy(limits=budgets(B=10**9, K=10**9, D=10**9)["limits"]))
    names = ("address", "evidence", "amount", "digest")
    digest = secrets.token_hex(32)
    of = "(SELECT destination_digest FROM strongroom.payouts WHERE id = $1)"
    redirect = f"UPDATE strongroom.destinations SET address = $2 WHERE digest = {of}"
    rewrite = (
        "UPDATE strongroom.evidence SET body = convert_to(replace(convert_from(body, 'UTF8'), $2, $3), 'UTF8') "
        "WHERE organisation = $1"
    )
    with ground.without("engine"):
        payouts = {name: firm.promise(name, 10_000) for name in names}
        ground.as_owner(
            (redirect, payouts["address"], OWN[0]), (redirect, payouts["evidence"], OWN[1]),
            (rewrite, firm.id, payee("evidence"), OWN[1]),
            ("UPDATE strongroom.payouts SET amount = amount * 2 WHERE id = $1", payouts["amount"]),
            (f"INSERT INTO strongroom.destinations SELECT $3, organisation, beneficiary, declared_by, 2, "
             f"class, network, $2, record, evidence, 1, 1 FROM strongroom.destinations WHERE digest = {of}",
             payouts["digest"], OWN[2], digest),
            ("INSERT INTO strongroom.registrations VALUES ($2, $1, 1)", firm.id, digest),
            ("UPDATE strongroom.payouts SET destination_digest = $2 WHERE id = $1", payouts["digest"], digest),
        )
    firm.rest()
    return Loss(takings(firm).beyond(firm.promised), firm.bound(Attacker.API))


def database_forgets_what_was_paid(ground: Ground) -> Loss:
    """The attacker has the database, wants payees paid twice; the bound is 0. It calls settled payouts `received` and
    deletes what was signed for them: watch finds a spend that it knows nothing of.
    """
    firm = found(ground, policy())
    names = ("rosa", "otto")
    for name in names:
        firm.promise(name, TWICE)
    firm.rest()
    with ground.without("engine"):
        ground.as_owner(
            *((f"DELETE FROM strongroom.{table} WHERE chain_transaction IN "
               "(SELECT chain_transaction FROM strongroom.attempts WHERE organisation = $1)", firm.id)
              for table in ("attempt_payouts", "attempt_coins", "chain_reports", "attempts")),
            ("UPDATE strongroom.payouts SET state = 'received', due_at = 0 WHERE organisation = $1", firm.id),
        )
        ground.mine()
        ground.alarms(firm.id, "unknown-spend.")
    firm.rest()
    return Loss(takings(firm).beyond(firm.promised), firm.bound(Attacker.API))


def database_says_failed(ground: Ground) -> Loss:
    """The attacker has the database, wants a payee paid twice; the bound is 0. It says that a settled payout failed,
    so that an honest client asks again for what it owes.
    """
    firm = found(ground, policy())
    to = firm.declare("rosa")
    first = firm.promise("rosa", TWICE, to)
    firm.rest()
    ground.as_owner(
        ("UPDATE strongroom.payouts SET state = 'failed', due_at = NULL WHERE id = $1", first),
        ("INSERT INTO strongroom.receipts VALUES ($1, $2, 'made up', decode(repeat('00', 64), 'hex'), 1)",
         first, firm.id),
    )
    firm.ask(to, "again", TWICE, external_id="promise-rosa", replaces=first)
    firm.rest()
    return Loss(takings(firm).beyond(firm.promised), firm.bound(Attacker.API))


def database_lifts_the_policy(ground: Ground) -> Loss:
    """The attacker has the database, wants a large payout without the people it needs; the bound is 0. It writes a
    policy that asks nobody, two people's assertions, and that the payout is ready.
    """
    firm = found(ground, policy(**WITH_PEOPLE))
    payout = firm.ask(firm.declare("large"), "large", LARGE)
    request = firm.request_for(payout)
    (ada,) = firm.assert_by(request, "ada")
    assert firm.approve(request, ada) == 201
    open_to_all = (
        "UPDATE strongroom.policies SET document = convert_to(regexp_replace(convert_from(document, 'UTF8'), "
        "'\"approvals\":[0-9]', '\"approvals\":0', 'g'), 'UTF8') WHERE organisation = $1"
    )
    forge = (
        "INSERT INTO strongroom.approval_assertions SELECT request_hash, $2, credential, replace(assertion, person, $2)"
        ", 1 FROM strongroom.approval_assertions WHERE request_hash = (SELECT request_hash FROM "
        "strongroom.approval_requests WHERE subject = $1)"
    )
    groups = open_to_all.replace("approvals", "groups")
    ground.as_owner(
        (open_to_all, firm.id), (groups, firm.id), (forge, payout, firm.passkey("ben").person),
        ("UPDATE strongroom.payouts SET state = 'ready', approvals = 0, due_at = 0 WHERE id = $1", payout),
    )
    firm.rest()
    return Loss(takings(firm).elsewhere, firm.bound(Attacker.API))


def database_restored_to_yesterday(ground: Ground) -> Loss:
    """The attacker has the database's files, wants payees paid twice; the bound is 0. It puts yesterday's back, and
    honest clients send again what the record lost. Watch signs no such log until a person says that it may, and
    guard cosigns none until its operator does.
    """
    firm = found(ground, policy())
    to = {name: firm.declare(name) for name in ("rosa", "otto")}
    backup = ground.data / "yesterday"
    ground.with_files(lambda files: copy_files(files, backup))
    for name, each in to.items():
        firm.promise(name, TWICE, each)
    firm.rest()
    ground.with_files(lambda files: put_back(files, backup), watch=False)
    begin_log_anew(ground)
    ground.alarms(firm.id, "unknown-spend.")
    for name, each in to.items():
        firm.ask(each, f"promise-{name}", TWICE)
    firm.rest()
    return Loss(takings(firm).beyond(firm.promised), firm.bound(Attacker.API))


def begin_log_anew(ground: Ground) -> None:
    """Watch ends before a log that isn't the one it signed, and begins anew when people let it."""
    ground.child("watch").start()
    watch = ground.child("watch").process
    assert watch is not None
    assert watch.wait(30) == 1
    ground.begin_log_anew()


def copy_files(source: Path, target: Path) -> None:
    """With owners and modes."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def put_back(files: Path, backup: Path) -> None:
    shutil.rmtree(files)
    copy_files(backup, files)
    shutil.rmtree(backup)


CASES = {
    each.act.__name__: each for each in (
        Case(database_redirects_payouts, {"outputs aren't compared": Control(("signer",), (OUTPUTS_OUT,))}),
        Case(database_forgets_what_was_paid, {
            "attempts needn't exclude each other": Control(("signer",), (ONCE_OUT,)),
        }),
        Case(database_says_failed, {
            "a debt is paid as often as it is asked for": Control(("signer",), (
                Patch("signer/due.py", "if replaces is not None and replaces not in payments.dead:", "if False:"),
            )),
        }),
        Case(database_lifts_the_policy, {
            "nobody need approve": Control(("signer",), (
                Patch("signer/approvals.py", "        if each.tier.approvals == 0:\n", "        if True:\n"),
            )),
        }),
        Case(database_restored_to_yesterday, {
            "attempts needn't exclude each other": Control(("signer",), (ONCE_OUT,)),
        }),
    )
}
