"""The command line: groups of commands, and the one place where an error becomes a sentence and an exit code.

Commands import what they need when they run, so that `strongroom --help` answers at once.
"""

import os
import sys
from typing import Final

import cyclopts
from cyclopts import Group

from strongroom.cli.later import LATER, missing
from strongroom.cli.output import Exit, Stop, complain, plain_output

VERSION: Final = "0.1.0"
DESCRIPTION: Final = "Strongroom: payouts that no single stolen key can divert."
EPILOGUE: Final = f"""\
A first payout:  strongroom up --detach, then examples/first_payout.sh
More of a command:  strongroom COMMAND --help.  --json prints for programs.
--data DIR, or STRONGROOM_DATA, says which sandbox; else it is ./.sandbox.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 not found, 4 refused, 5 can't
reach, 7 waits (recorded and not paid yet), 10 verification failed.

Not in this version yet: {', '.join(sorted(LATER)[:5])},
{', '.join(sorted(LATER)[5:])}."""

_RUNNING: Final = Group("A sandbox on this machine", sort_key=1)
_OWN: Final = Group("A deployment of your own", sort_key=2)
_PAYING: Final = Group("Paying", sort_key=3)
_CHECKING: Final = Group("Checking", sort_key=4)
_PROGRAMS: Final = Group("For programs", sort_key=5)
_OTHER: Final = Group("Options", sort_key=6)

_COMMANDS: Final = (
    ("up", "sandbox:up", _RUNNING, "Start PostgreSQL, the nodes and the product"),
    ("down", "sandbox:down", _RUNNING, "Stop it and all that it started"),
    ("status", "sandbox:status", _RUNNING, "What runs, asked of the processes"),
    ("doctor", "sandbox:doctor", _RUNNING, "What a sandbox needs, and whether it is here"),
    ("sandbox", "sandbox:app", _RUNNING, "More of it: a fresh organisation"),
    ("init", "init:app", _OWN, "Found it: keys, genesis, journal, organisations"),
    ("recover", "recover:app", _OWN, "Go on when signer and guard have lost some"),
    ("serve", "serve:serve", _OWN, "Run one process of the product"),
    ("beneficiary", "beneficiary:app", _PAYING, "Declare who is paid where"),
    ("payout", "payout:app", _PAYING, "Ask for payouts and look at them"),
    ("run", "run:app", _PAYING, "Pay many people at once, from a CSV"),
    ("console", "console:app", _RUNNING, "Open the console as one of the sandbox's people"),
    ("approve", "approve:approve", _PAYING, "See what waits for people, and approve it"),
    ("freeze", "approve:freeze", _PAYING, "Stop payments at once; one officer is enough"),
    ("veto", "approve:veto", _PAYING, "End a pending change; one member is enough"),
    ("unfreeze", "approve:unfreeze", _PAYING, "Let them go on; needs a quorum"),
    ("allow-recovery", "approve:allow_recovery", _PAYING, "Allow one sweep while all is frozen"),
    ("sweep", "sweep:sweep_wallet", _PAYING, "Empty a hot wallet to the policy's treasury"),
    ("wallet", "wallet:app", _PAYING, "Where a wallet is funded; rotate its keys"),
    ("vault", "vault:app", _PAYING, "Pause a hot vault; files for its owner's Safe"),
    ("change", "change:app", _PAYING, "Changes of policy and roster: see, and want them"),
    ("people", "change:people", _PAYING, "Who is in the roster, and how it changes"),
    ("policy", "policy:app", _CHECKING, "Check, compare, try and propose policies"),
    ("audit", "audit:app", _CHECKING, "Export the audit log; verify one offline"),
    ("bench", "bench:bench", _CHECKING, "Measure against the bare database"),
    ("api", "call:call", _PROGRAMS, "Sign and send any call"),
    ("proxy", "proxy:proxy", _PROGRAMS, "Sign for programs in any language, on loopback"),
)

app = cyclopts.App(
    name="strongroom", help=DESCRIPTION, help_epilogue=EPILOGUE, help_format="plaintext", version=VERSION,
    version_flags=["--version"], result_action="return_value",
)
for place, (name, module, group, text) in enumerate(_COMMANDS):
    app.command(f"strongroom.cli.{module}", name=name, group=group, help=text, sort_key=place)
for name in LATER:
    app.command(missing(name), name=name, show=False)
app["--help"].group = app["--version"].group = (_OTHER,)


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 done, 1 failed, 2 wrong use, 3 not found, 4 refused, 5 can't reach, 7 waits, 10 not verified."""
    plain_output()
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as fault:
        complain(" ".join(str(fault).split()))
        return Exit.USAGE
    except Stop as stop:
        if stop.message:
            complain(stop.message)
        return stop.code
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains when it ends
        return Exit.FAILED
    except Exception as fault:  # the last edge: a person gets a sentence, and a trace only where they ask for one
        if os.environ.get("STRONGROOM_TRACE"):
            raise
        complain(f"a fault of ours: {type(fault).__name__}: {fault} (STRONGROOM_TRACE=1 shows where)")
        return Exit.FAILED
    return result if isinstance(result, int) else Exit.DONE
