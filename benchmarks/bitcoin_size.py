"""What one payout of a thousand costs in virtual bytes: planned by the engine's own numbers, signed by the signer.

Size isn't time: every machine finds the same, in one run. Payees have P2WPKH addresses, coins and change are taproot's.
"""

from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.engine.plan import choose
from strongroom.formats.bitcoin_address import REGTEST, bitcoin_address_of
from strongroom.formats.bitcoin_transaction import encode_transaction, parse_transaction
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.formats.coins import Coin
from strongroom.rails import port
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.pkcs11_keys import TokenKeys
from strongroom.signer.sign_bitcoin import BitcoinWallet

COUNT: Final = 1_000
MINOR: Final = 20_000
RATE: Final = 20_000
ORGANISATION: Final = OrganisationId("org_" + "a" * 26)


def measure_vbytes() -> float:
    """Of the signed bytes, by BIP-141: a quarter of three times their size without witnesses and once with them."""
    form, wallet = COIN_FORMATS[REGTEST], BitcoinWallet(KeyStore(Secret(b"\1" * 32)), REGTEST, TokenKeys())
    payees = [bitcoin_address_of(b"\x00\x14" + number.to_bytes(20), REGTEST) or "" for number in range(COUNT)]
    own, change = (wallet.address(ORGANISATION, 0, index) for index in range(2))
    found = port.Coin(port.ChainTransactionId("11" * 32), 0, 2 * COUNT * MINOR, own, 1)
    chosen = choose(form, [found], COUNT * MINOR, [*payees, change], RATE)
    if chosen is None:
        raise ValueError("one coin should be enough")
    coins, fee = chosen
    outputs = [*((payee, MINOR) for payee in payees), (change, found.amount_minor - COUNT * MINOR - fee)]
    spent = [Coin(coin.outpoint, coin.amount_minor, coin.address) for coin in coins]
    signed = wallet.sign(ORGANISATION, form.write_unsigned(spent, outputs), [(0, 0)])
    bare = len(encode_transaction(parse_transaction(signed), with_witnesses=False))
    return -(-(3 * bare + len(signed)) // 4) / COUNT
