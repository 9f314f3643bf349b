"""A token by PKCS#11: logs in once, finds private keys by their labels, and has them sign digests by ECDSA.

Everything is opened before the process locks itself down, and only descriptors that are open then, and files of the
signer's own folder, can be used afterwards: a module that connects, starts a thread or opens other files later ends the
process. What it answers is believed by nobody (`pkcs11_keys`).
"""

from collections.abc import Callable
from typing import cast

import pkcs11
from pkcs11 import KeyType, Mechanism, ObjectClass
from pkcs11.types import SignMixin

from strongroom.domain.invariant import InvariantError
from strongroom.signer.keys import KeyFileError, Secret


def open_token(module: str, label: str, pin: Secret) -> Callable[[str, bytes], bytes]:
    """What signs with a key of this token, named by its label. Raises: KeyFileError."""
    try:
        token = pkcs11.lib(module).get_token(token_label=label)
        session = token.open(user_pin=pin.reveal().decode())
    except pkcs11.PKCS11Error as fault:
        raise KeyFileError(f"the token {label} can't be opened: {_said(fault)}") from fault
    found: dict[str, SignMixin] = {}

    def sign(name: str, digest: bytes) -> bytes:
        try:
            if name not in found:
                key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, key_type=KeyType.EC, label=name)
                found[name] = cast("SignMixin", key)
            return bytes(found[name].sign(digest, mechanism=Mechanism.ECDSA))
        except pkcs11.PKCS11Error as fault:
            raise InvariantError(f"the token doesn't sign with {name}: {_said(fault)}") from fault

    return sign


def _said(fault: Exception) -> str:
    return f"{type(fault).__name__} {fault}".strip()
