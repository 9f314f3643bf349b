// What the console hands over: the document in the fragment of this page's address. Nothing of it is believed; it only
// says what to look at, and whom to ask.

import { CanonicalError, parse, encode, textOf } from "./canonical.js";
import { HEX_HASH, ORGANISATION, PERSON } from "./identifier.js";
import { bytesOfHex, DocumentError, Fields } from "./record.js";

const FRAGMENT_MAXIMUM = 1_000_000;
const RECORD_MAXIMUM = 700_000;
const CREDENTIALS_MAXIMUM = 16;
const TOKEN = /^[A-Za-z0-9_-]{16,128}$/;
export const ACTIONS = ["freeze", "unfreeze", "cancel", "decline", "revoke", "suspend", "veto", "resolve", "recover"];

const READERS = {
  approve: (fields) => ({
    request: fields.text("request", RECORD_MAXIMUM),
    signature: fields.hex("signature", 64, 64),
    policy: fields.optional("policy", RECORD_MAXIMUM),
    roster: fields.optional("roster", RECORD_MAXIMUM),
    items: token(fields),
  }),
  instruct: (fields) => ({
    action: fields.oneOf("action", ACTIONS),
    object: fields.text("object", 160),
    organisation: fields.parsed("organisation", ORGANISATION, "the id of an organisation"),
    record: fields.optional("record", 4_096),
    given: fields.each("assertions", 32).map(assertion),
  }),
  change: (fields) => ({
    document: fields.oneOf("document", ["policy", "roster"]),
    record: fields.text("record", RECORD_MAXIMUM),
    previous: fields.optional("previous", RECORD_MAXIMUM),
  }),
  intent: (fields) => ({
    record: fields.text("record", RECORD_MAXIMUM),
    destination: fields.optional("destination", 4_096),
    policy: fields.optional("policy", RECORD_MAXIMUM),
    items: token(fields),
  }),
  enrol: (fields) => ({
    organisation: fields.parsed("organisation", ORGANISATION, "the id of an organisation"),
    challenge: fields.parsed("challenge", HEX_HASH, "32 bytes in hex"),
  }),
};

/** The document of a fragment (`#…`), its fields read. Throws: DocumentError. */
export function readLink(fragment) {
  const encoded = fragment.slice(1);
  if (encoded === "") throw new DocumentError("", "nothing was handed over: open what is to be signed from the console");
  if (encoded.length > FRAGMENT_MAXIMUM || !/^[A-Za-z0-9_-]+$/.test(encoded)) {
    throw new DocumentError("", "what was handed over isn't base64url");
  }
  const fields = new Fields(decoded(encoded));
  const kind = fields.oneOf("kind", Object.keys(READERS));
  const person = fields.parsed("person", PERSON, "the id of a person");
  const name = fields.text("name");
  const credentials = fields.distinct("credentials", CREDENTIALS_MAXIMUM, /^(?:[0-9a-f]{2}){1,1023}$/, "bytes in hex");
  const read = READERS[kind](fields);
  return fields.done({ kind, person, name, credentials: credentials.map(bytesOfHex), ...read });
}

function decoded(encoded) {
  try {
    const binary = atob(encoded.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (each) => each.charCodeAt(0));
    const value = parse(bytes);
    if (encode(value) !== textOf(bytes)) throw new DocumentError("", "what was handed over isn't in canonical form");
    return value;
  } catch (fault) {
    if (fault instanceof CanonicalError) throw new DocumentError("", `what was handed over ${fault.message}`);
    if (fault instanceof DOMException) throw new DocumentError("", "what was handed over isn't base64url");
    throw fault;
  }
}

function token(fields) {
  const value = fields.optional("items");
  if (value !== null && !TOKEN.test(value)) fields.fail("items", "must be a token of 16 to 128 characters");
  return value;
}

function assertion(fields) {
  const made = {
    authenticator_data: fields.hex("authenticator_data", 1, 1_024),
    client_data: fields.hex("client_data", 1, 8_192),
    credential: fields.hex("credential", 1, 1_023),
    person: fields.parsed("person", PERSON, "the id of a person"),
    signature: fields.hex("signature", 1, 256),
  };
  return fields.done(made);
}
