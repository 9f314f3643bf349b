"""`init credential`: makes an approval credential on the security key that is plugged in, for the roster."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from strongroom.cli import founding, security_key
from strongroom.cli.enrolment import EnrolmentError, enrolled
from strongroom.cli.files import refuse_existing, write_new
from strongroom.cli.output import Exit, Stop, say, show
from strongroom.protocol.roster import CredentialClass
from strongroom.protocol.webauthn import RelyingParty


def make_credential(
    *,
    name: Annotated[str, Parameter("--name", help="Whose key it is, as the roster says it")],
    relying_party: Annotated[str, Parameter("--relying-party", help="The name that passkeys are for, as in genesis")],
    origin: Annotated[str, Parameter("--origin", help="Of the station, https://…, as in genesis")],
    out: Annotated[Path, Parameter("--out", help="The enrolment to make; refused if it is there")],
    credential_class: Annotated[
        Literal["browser", "terminal"],
        Parameter("--class", help="terminal: only `strongroom approve` will ask it; browser: the station does"),
    ],
) -> int:
    """Make a credential on the security key that is plugged in.

    Asks for the key's PIN, on the terminal, and for a touch. Prints what goes into
    the roster; the enrolment, with its maker's word on the key, is for genesis.
    """
    refuse_existing(out)
    party = RelyingParty(relying_party, frozenset([origin]))
    try:
        founding.check_relying_party(party)
        client_data, attestation = security_key.make_credential(name, relying_party, origin)
        made = enrolled(client_data, attestation, name, CredentialClass(credential_class), party)
    except founding.FoundingError as fault:
        raise Stop(Exit.USAGE, str(fault)) from fault
    except EnrolmentError as fault:
        raise Stop(Exit.NOT_VERIFIED, f"the key's answer isn't taken: {fault}") from fault
    write_new(out, made.encode().decode())
    credential = {
        "class": credential_class, "id": made.credential.id.hex(), "public_key": made.credential.public_key.hex(),
    }
    show(credential, as_json=True, text="")
    say(f"these lines go into the roster, among the credentials of {json.dumps(name)}; {out} is for `init genesis`")
    return Exit.DONE
