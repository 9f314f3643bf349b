"""`sweep NETWORK`: empties a hot wallet to the policy's treasury, as the engine's user and by the engine's socket.

Nothing is believed of whoever asks: the signer signs a sweep to the treasury of the policy and to nowhere else, one a
day, and while all is frozen for an officer's word alone (`allow-recovery`).
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop, fields, show
from strongroom.cli.session import Data, Json, document, speaking
from strongroom.domain.document import DocumentError
from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.engine.bench import Bench
from strongroom.engine.config import Config, ConfigError, read_config
from strongroom.engine.signer_client import SignerClient, SignerUnreachableError
from strongroom.engine.sweep import SweepError, Swept, sweep
from strongroom.protocol.signer_wire import RefusedAnswer
from strongroom.rails.port import Accepted, RailError
from strongroom.rails.registry import open_rails
from strongroom.store.session import FAULTS, SessionError, connect

ENGINE_CONFIG: Final = Path("/etc/strongroom/engine.json")


@speaking
def sweep_wallet(
    network: Annotated[str, Parameter(help="The wallet's network, such as sim:sandbox")],
    /,
    *,
    engine_config: Annotated[
        Path | None, Parameter("--engine-config", help="Of the engine: a sandbox's, else /etc/strongroom/engine.json")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Send all that a hot wallet holds to the policy's treasury.

    Run it on the signer's machine as the engine's user, or as root, which becomes
    that user. While all is frozen an officer allows it first: allow-recovery.
    """
    profile = document(data)
    sandboxs = profile.file.parent / "engine" / "config.json"
    config = _engine(engine_config or (sandboxs if "ready" in profile else ENGINE_CONFIG))
    try:
        done = asyncio.run(_sweep(config, OrganisationId(profile["organisation"]), network))
    except SweepError as fault:
        raise Stop(Exit.FAILED, f"nothing was swept: {fault}") from fault
    except (SignerUnreachableError, SessionError, RailError, DocumentError, *FAULTS) as fault:
        raise Stop(Exit.UNREACHABLE, f"{fault}") from fault
    if isinstance(done, RefusedAnswer):
        how = f"; an officer can allow it: strongroom allow-recovery {network} --as …"
        allowed = how if done.rule in ("not-frozen", "sweep-once") else ""
        raise Stop(Exit.REFUSED, f"nothing was swept: the signer refused: {done.rule}: {done.reason}{allowed}")
    is_sent = isinstance(done.outcome, Accepted)
    value = {
        "amount": str(done.amount_minor), "chain_transaction": done.chain_transaction, "coins": done.coins,
        "fee": str(done.fee_minor), "is_sent": is_sent, "network": network, "treasury": done.treasury,
    }
    show(value, as_json, fields([
        ("swept", done.amount_minor), ("to the treasury", done.treasury), ("fee", done.fee_minor),
        ("coins", done.coins), ("chain transaction", done.chain_transaction),
        ("the node", "has it" if is_sent else f"hasn't taken it: {done.outcome}; the engine sends it again"),
    ]))
    return Exit.DONE


def _engine(file: Path) -> Config:
    """Its configuration; who is root becomes its user, whom alone the signer's socket knows. Raises: Stop."""
    try:
        owner = file.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.setgroups([])
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
            os.environ["HOME"] = "/nonexistent"  # root's own, in which the database's driver looks, isn't ours any more
        return read_config(file)
    except OSError as fault:
        raise Stop(Exit.NOT_FOUND, f"--engine-config: {file}: {fault.strerror}") from fault
    except ConfigError as fault:
        raise Stop(Exit.FAILED, f"--engine-config: {fault}") from fault


async def _sweep(config: Config, organisation: OrganisationId, network: str) -> Swept | RefusedAnswer:
    rails = open_rails({name: node for name, node in config.nodes.items() if name == network})
    for rail in rails.values():
        await rail.identity()
    connection = await connect(config.database_url, "strongroom sweep")
    signer = SignerClient(config.signer_socket)
    try:
        bench = Bench(connection, signer, rails, lambda: Instant(time.time_ns() // 1_000_000))
        return await sweep(bench, organisation, network)
    finally:
        signer.close()
        await connection.close()
