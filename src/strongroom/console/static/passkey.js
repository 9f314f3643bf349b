// Between forms of bytes, and the two things that a passkey is asked for. Nothing here decides anything.

export function fromHex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function toBase64Url(buffer) {
  const text = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export async function post(path, value) {
  const answer = await fetch(path, {
    method: "POST", headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(value), credentials: "same-origin",
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail ?? "It was refused.");
  return said;
}

export async function assert(asked) {
  const credential = await navigator.credentials.get({
    publicKey: {
      challenge: fromHex(asked.challenge), rpId: asked.relying_party, userVerification: "required", timeout: 120000,
      allowCredentials: (asked.credentials ?? []).map((id) => ({ type: "public-key", id: fromHex(id) })),
    },
  });
  return {
    authenticator_data: toBase64Url(credential.response.authenticatorData),
    client_data: toBase64Url(credential.response.clientDataJSON),
    credential: toBase64Url(credential.rawId),
    signature: toBase64Url(credential.response.signature),
  };
}

export async function create(asked, person, name) {
  const credential = await navigator.credentials.create({
    publicKey: {
      challenge: fromHex(asked.challenge), rp: { id: asked.relying_party, name: "Strongroom" },
      user: { id: new TextEncoder().encode(person), name, displayName: name },
      pubKeyCredParams: [{ type: "public-key", alg: -8 }, { type: "public-key", alg: -7 }],
      authenticatorSelection: { residentKey: "required", userVerification: "required" }, attestation: "none",
      timeout: 120000,
    },
  });
  return {
    authenticator_data: toBase64Url(credential.response.getAuthenticatorData()),
    client_data: toBase64Url(credential.response.clientDataJSON),
    credential: toBase64Url(credential.rawId),
  };
}

// What went wrong, in words for who sits before the screen.
export function words(fault) {
  if (fault.name === "NotAllowedError") return "The passkey was not used. Try again.";
  if (fault.name === "InvalidStateError") return "This device has a passkey for it already.";
  return fault.message;
}
