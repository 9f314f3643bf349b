"""Makes a payment key in a hardware module, which never leaves it, and prints its public half.

`python -I -m strongroom.signer.pkcs11_ceremony MODULE TOKEN LABEL`, with the PIN on standard input. Refuses a label
that is there already. The signer is told of the key by label and public key (`pkcs11_keys`).
"""

import os
import resource
import sys
from typing import Final

import pkcs11
from coincurve import PublicKey
from pkcs11 import Attribute, KeyType

from strongroom.signer.keys import KeyFileError, Secret
from strongroom.signer.pkcs11_keys import read_pin

SECP256K1: Final = bytes.fromhex("06052b8104000a")
"""The curve's object identifier, 1.3.132.0.10, in DER (SEC 2 §A.2.1)."""
POINT_LENGTH: Final = 65


def make_token_key(module: str, token_label: str, label: str, pin: Secret) -> bytes:
    """Its public half, 33 bytes. Raises: KeyFileError."""
    try:
        token = pkcs11.lib(module).get_token(token_label=token_label)
        with token.open(rw=True, user_pin=pin.reveal().decode()) as session:
            if list(session.get_objects({Attribute.LABEL: label})):
                raise KeyFileError(f"{label} is in the token already, and is not made anew")
            curve = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: SECP256K1}, local=True)
            public, private = curve.generate_keypair(
                store=True, label=label, private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
            )
            if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
                raise KeyFileError(f"the token made {label} so that it can be taken out")
            # An octet string in DER; some modules leave away what says so.
            return PublicKey(public[Attribute.EC_POINT][-POINT_LENGTH:]).format()
    except (pkcs11.PKCS11Error, ValueError) as fault:
        raise KeyFileError(f"the token {token_label} makes no such key: {type(fault).__name__} {fault}") from fault


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if len(sys.argv) != 4:
        return 2
    module, token_label, label = sys.argv[1:]
    try:
        said = make_token_key(module, token_label, label, read_pin(0)).hex()
    except KeyFileError as fault:
        os.write(2, f"ceremony: {fault}\n".encode())
        return 1
    os.write(1, f"{said}\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
