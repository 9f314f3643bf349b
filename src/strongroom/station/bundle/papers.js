// The policy and the roster that a record names by their hashes. The console may send their texts along; they count once
// the hashes agree. Only names of assets and people are taken: what they decide, the signer decides.

import { bytesOf } from "./canonical.js";
import { PERSON } from "./identifier.js";
import { DocumentError, hexOf, readRecord, recordHash } from "./record.js";

export const POLICY_TYPE = "strongroom/policy/v1";
export const ROSTER_TYPE = "strongroom/roster/v1";

/** Asset → `{ symbol, decimals, network }`; null without a text. Throws: DocumentError. */
export async function readPolicy(text, hash) {
  const fields = await opened(text, POLICY_TYPE, hash, "policy");
  if (fields === null) return null;
  return new Map(fields.each("assets", 64).map((each) => [each.text("asset", 120), {
    symbol: each.parsed("symbol", /^[!-~]{1,16}$/, "visible ASCII", 16),
    decimals: each.integer("decimals", 0, 24),
    network: each.text("network"),
  }]));
}

/** Person → name; null without a text. Throws: DocumentError. */
export async function readRoster(text, hash) {
  const fields = await opened(text, ROSTER_TYPE, hash, "roster");
  if (fields === null) return null;
  return new Map(fields.each("people", 200).map((each) => [each.parsed("id", PERSON, "an id"), each.text("name")]));
}

async function opened(text, type, hash, field) {
  if (text === null) return null;
  if (hash !== null && hexOf(await recordHash(type, bytesOf(text))) !== hash) {
    throw new DocumentError(field, "isn't the one that is named in what is signed");
  }
  return readRecord(text, type);
}
