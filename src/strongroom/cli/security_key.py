"""A security key on USB: asks it, by CTAP2, to say yes to exactly these bytes, or for a new credential, with its
owner verified.

The key shows nothing, so what is signed is drawn by whoever calls, from the bytes that are signed, before it is asked.
The PIN is asked on the terminal without echo, goes to the key encrypted, and is kept nowhere. A key that can't verify
its owner is refused here, as the signer would refuse what it signed.
"""

import secrets
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import GetPassWarning, getpass
from typing import Final, NoReturn

from fido2.client import ClientDataCollector, ClientError, Fido2Client, PinRequiredError, UserInteraction
from fido2.cose import ES256, EdDSA
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.pin import ClientPin
from fido2.hid import ConnectionFailure, CtapHidDevice
from fido2.webauthn import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    CollectedClientData,
    PublicKeyCredentialCreationOptions,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRequestOptions,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from strongroom.cli.output import Exit, Stop, say, visible
from strongroom.domain.ids import PersonId
from strongroom.protocol.approval import PersonAssertion
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.webauthn import Assertion

TOUCH_WAIT_MS: Final = 60_000

_SAID: Final = {
    CtapError.ERR.PIN_AUTH_BLOCKED: "three wrong PINs in a row: unplug the key, plug it in again, and try once more",
    CtapError.ERR.PIN_BLOCKED: "the key is locked after too many wrong PINs; only a reset opens it, and empties it",
    CtapError.ERR.UV_BLOCKED: "the key doesn't take fingerprints any more and has no PIN: it can't verify you",
    CtapError.ERR.UV_INVALID: "the key didn't recognise the fingerprint",
    CtapError.ERR.OPERATION_DENIED: "the key refused",
}


@dataclass(frozen=True, slots=True)
class SecurityKey:
    """One person's key. `credentials` are the ids that the roster has for them; if there are none, the key is asked
    which one it keeps for this relying party."""

    person: PersonId
    name: str
    relying_party: str
    origin: str
    credentials: tuple[bytes, ...]

    def asserts(self, record: bytes, record_type: str) -> PersonAssertion:
        """That this person says yes to exactly these bytes. Asks for PIN and touch. Raises: Stop."""
        challenge = record_hash(record_type, record)
        descriptors = [
            PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=each) for each in self.credentials
        ]
        options = PublicKeyCredentialRequestOptions(
            challenge=challenge, timeout=TOUCH_WAIT_MS, rp_id=self.relying_party,
            allow_credentials=descriptors or None, user_verification=UserVerificationRequirement.REQUIRED,
        )
        with _only_key() as device:
            try:
                client = Fido2Client(device, _Page(self.origin), _AtTheTerminal(self.name))
                found = client.get_assertion(options)
            except (ClientError, OSError, ConnectionFailure, ValueError) as fault:
                _stop(device, fault, self.name, self.relying_party)
        if len(found.get_assertions()) > 1:
            raise Stop(Exit.USAGE, f"the key has several credentials for {self.relying_party}: it isn't clear which is "
                                   f"{self.name}'s; name it in credential_ids")
        answer = found.get_response(0)
        if not answer.response.authenticator_data.is_user_verified():
            raise Stop(Exit.NOT_VERIFIED, f"the key signed without verifying that it is {self.name}: the signer "
                                          "wouldn't count that")
        said = Assertion(
            bytes(answer.response.client_data), bytes(answer.response.authenticator_data), answer.response.signature
        )
        return PersonAssertion(self.person, answer.raw_id, said)


def make_credential(name: str, relying_party: str, origin: str) -> tuple[bytes, bytes]:
    """A new credential with a key that never leaves the device, and its maker's word on that: the client data and
    the attestation object (W3C WebAuthn §6.5.4). Asks for PIN and touch. Raises: Stop."""
    kind = PublicKeyCredentialType.PUBLIC_KEY
    options = PublicKeyCredentialCreationOptions(
        rp=PublicKeyCredentialRpEntity(id=relying_party, name=relying_party),
        user=PublicKeyCredentialUserEntity(id=secrets.token_bytes(32), name=name, display_name=name),
        challenge=secrets.token_bytes(32), timeout=TOUCH_WAIT_MS,
        pub_key_cred_params=[
            PublicKeyCredentialParameters(type=kind, alg=each.ALGORITHM) for each in (ES256, EdDSA)
        ],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.REQUIRED,
        ),
        attestation=AttestationConveyancePreference.DIRECT,
    )
    with _only_key() as device:
        try:
            client = Fido2Client(device, _Page(origin), _AtTheTerminal(name))
            made = client.make_credential(options).response
        except (ClientError, OSError, ConnectionFailure, ValueError) as fault:
            _stop(device, fault, name, relying_party)
    return bytes(made.client_data), bytes(made.attestation_object)


def _stop(device: CtapDevice, fault: Exception, name: str, relying_party: str) -> NoReturn:
    """In a sentence, what the key didn't do."""
    cause = fault.cause if isinstance(fault, ClientError) else fault
    code = cause.code if isinstance(cause, CtapError) else None
    text = f"the key doesn't answer as it should: {cause or fault!r}"
    if code is CtapError.ERR.PIN_INVALID:
        text = f"the PIN is wrong; {_tries_left(device)}"
    elif code in _SAID:
        text = _SAID[code]
    elif isinstance(fault, PinRequiredError):
        text = "without its PIN the key can't verify you"
    elif isinstance(fault, ClientError) and fault.code is ClientError.ERR.DEVICE_INELIGIBLE:
        text = f"this key has no credential of {name} for {relying_party}"
    elif isinstance(fault, ClientError) and fault.code is ClientError.ERR.CONFIGURATION_UNSUPPORTED:
        text = "this key can't verify its owner: set a PIN or a fingerprint on it first"
    elif isinstance(fault, ClientError) and fault.code is ClientError.ERR.TIMEOUT:
        text = "nobody touched the key in time"
    raise Stop(Exit.REFUSED, text) from fault


class _Page(ClientDataCollector):
    """What a browser says of the page that asks: here the one origin that the deployment allows."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def collect_client_data(
        self, options: PublicKeyCredentialCreationOptions | PublicKeyCredentialRequestOptions
    ) -> tuple[CollectedClientData, str]:
        if isinstance(options, PublicKeyCredentialCreationOptions):
            kind, party = CollectedClientData.TYPE.CREATE, options.rp.id
        else:
            kind, party = CollectedClientData.TYPE.GET, options.rp_id
        if party is None:
            raise TypeError("a key is asked for a named relying party only")
        return CollectedClientData.create(kind, options.challenge, self._origin), party


class _AtTheTerminal(UserInteraction):
    def __init__(self, name: str) -> None:
        self._name = name

    def prompt_up(self) -> None:
        say(f"touch the security key of {self._name}")

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str | None:
        """Without echo, or not at all: never from a pipe. Raises: Stop."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            try:
                return getpass(visible(f"PIN of the security key of {self._name}: "))
            except GetPassWarning as fault:
                raise Stop(Exit.USAGE, "there is no terminal on which the PIN could be asked without echo") from fault
            except EOFError as fault:
                raise Stop(Exit.USAGE, "no PIN was given") from fault


@contextmanager
def _only_key() -> Iterator[CtapDevice]:
    """The one key that is plugged in. Raises: Stop."""
    try:
        found = plugged_in()
    except OSError as fault:
        raise Stop(Exit.UNREACHABLE, f"the security key can't be opened: {fault}") from fault
    try:
        if not found:
            raise Stop(Exit.NOT_FOUND, "no security key is plugged in, or none that this user may open")
        if len(found) > 1:
            raise Stop(Exit.USAGE, f"{len(found)} security keys are plugged in: leave the one that is to sign")
        yield found[0]
    finally:
        for device in found:
            device.close()


def plugged_in() -> Sequence[CtapDevice]:
    """Every key on USB."""
    return list(CtapHidDevice.list_devices())


def _tries_left(device: CtapDevice) -> str:
    """Asked of the key itself, which counts."""
    try:
        retries, must_be_unplugged = ClientPin(Ctap2(device)).get_pin_retries()
    except (CtapError, OSError, ValueError):
        return "how many tries are left isn't known"
    then = ", after it was unplugged and plugged in again" if must_be_unplugged else ""
    return f"{retries} tries are left before the key locks itself{then}"
