// The passkey: asked to sign the hash of what was shown, with its holder verified, for this page's own host.

import { hexOf } from "./record.js";

const TIMEOUT_MS = 120_000;

export class PasskeyError extends Error {}

/** An assertion of one of these credentials over 32 bytes, as protocol/approval.py writes it. Throws: PasskeyError. */
export async function assert(config, asked, challenge) {
  const found = await credential(() => navigator.credentials.get({
    publicKey: {
      challenge, rpId: config.relying_party_id, userVerification: "required", timeout: TIMEOUT_MS,
      allowCredentials: asked.credentials.map((id) => ({ type: "public-key", id })),
    },
  }));
  return {
    authenticator_data: hexOf(new Uint8Array(found.response.authenticatorData)),
    client_data: hexOf(new Uint8Array(found.response.clientDataJSON)),
    credential: hexOf(new Uint8Array(found.rawId)),
    person: asked.person,
    signature: hexOf(new Uint8Array(found.response.signature)),
  };
}

/** A new credential for approvals, and its attestation. Throws: PasskeyError. */
export async function create(config, asked, challenge) {
  const found = await credential(() => navigator.credentials.create({
    publicKey: {
      challenge, attestation: "direct", timeout: TIMEOUT_MS,
      rp: { id: config.relying_party_id, name: `Strongroom approvals (${config.deployment})` },
      user: { id: new TextEncoder().encode(asked.person), name: asked.name, displayName: asked.name },
      pubKeyCredParams: [{ type: "public-key", alg: -7 }, { type: "public-key", alg: -8 }],
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
      excludeCredentials: asked.credentials.map((id) => ({ type: "public-key", id })),
    },
  }));
  return {
    attestation_object: hexOf(new Uint8Array(found.response.attestationObject)),
    client_data: hexOf(new Uint8Array(found.response.clientDataJSON)),
    credential: hexOf(new Uint8Array(found.rawId)),
    transports: found.response.getTransports(),
  };
}

async function credential(ask) {
  try {
    return await ask();
  } catch (fault) {
    const reasons = {
      NotAllowedError: "the passkey wasn't given: it was refused, took too long, or isn't on this device",
      InvalidStateError: "this device has a passkey for approvals of yours already",
      SecurityError: "this page isn't on the host that the passkeys are for",
    };
    throw new PasskeyError(reasons[fault.name] ?? `the passkey can't be asked: ${fault.name}`);
  }
}
