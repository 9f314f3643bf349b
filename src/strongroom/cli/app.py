"""The command line: groups of commands, and the one place where an error becomes a sentence and an exit code.

Commands import what they need when they run, so that `strongroom --help` answers at once.
"""

import sys
from typing import Final

import cyclopts

from strongroom.cli.output import Exit, Stop, complain

DESCRIPTION: Final = "Strongroom: payouts that no single stolen key can divert."

app = cyclopts.App(name="strongroom", help=DESCRIPTION, version_flags=["--version"], result_action="return_value")
for name, module in (
    ("up", "sandbox:up"), ("down", "sandbox:down"), ("status", "sandbox:status"), ("doctor", "sandbox:doctor"),
    ("sandbox", "sandbox:app"), ("serve", "serve:serve"), ("payout", "payout:app"), ("run", "run:app"),
    ("beneficiary", "beneficiary:app"), ("audit", "audit:app"), ("api", "call:call"), ("bench", "bench:bench"),
):
    app.command(f"strongroom.cli.{module}", name=name)


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 done, 1 failed, 2 wrong use, 3 not found, 4 refused, 5 can't reach, 7 waits, 10 not verified."""
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as fault:
        complain(str(fault))
        return Exit.USAGE
    except Stop as stop:
        if stop.message:
            complain(stop.message)
        return stop.code
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.FAILED
    return result if isinstance(result, int) else Exit.DONE
