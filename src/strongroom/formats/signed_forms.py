"""Whether signed bytes are those that were asked for, on every chain. For who asks the signer and keeps its answers."""

from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.formats.coins import CoinsError
from strongroom.formats.evm_transaction import EvmTransactionError, parse_signed, sender
from strongroom.formats.evm_vault_call import parse_vault_call


def is_signed_form(network: str, signed: bytes, unsigned: bytes) -> bool:
    """Whether `signed` is `unsigned` with signatures. Of coins, whether these hold isn't asked. Raises: CoinsError."""
    form = COIN_FORMATS.get(network)
    if form is not None:
        return form.is_signed_form(signed, unsigned)
    call = parse_vault_call(unsigned)
    try:
        made, signature = parse_signed(signed)
        return made == call.transaction() and sender(made, signature) == call.sender
    except EvmTransactionError as fault:
        raise CoinsError(str(fault)) from fault
