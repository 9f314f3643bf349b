// What names things: a prefix, then 26 characters of lower-case base32; networks, assets, addresses are plain text.

import { bytesOf, encode, record } from "./canonical.js";

const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const BODY_LENGTH = 26;
const BODY = "[a-z2-7]{26}";
const is = (prefix) => new RegExp(`^(?:${prefix})_${BODY}$`);

export const ORGANISATION = is("org");
export const PERSON = is("pe");
export const MAKER = is("cl|pe");
export const BENEFICIARY = is("ben");
export const PAYOUT = is("po");
export const RUN = is("run");
export const HEX_HASH = /^[0-9a-f]{64}$/;
export const DEPLOYMENT = /^[0-9a-f]{16}$/;
/** Visible ASCII, such as a CAIP-19 name: nothing in it can look like something else. */
export const ASSET = /^[!-~]{1,120}$/;
export const NETWORK = /^[!-~]{1,60}$/;
export const CLASSES = ["declared", "payee_verified", "allowlisted"];
export const KEY = /^[!-~]{1,255}$/;

/** The id of a run, derived from what its maker signed: as protocol/identifier.py. */
export async function runId(organisation, client, key) {
  const named = encode(record({ client, idempotency_key: key, organisation, type: "strongroom/run-id/v1" }));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(named)));
  const bits = Array.from(digest, (each) => each.toString(2).padStart(8, "0")).join("");
  return `run_${Array.from({ length: BODY_LENGTH }, (_, each) => LETTERS[parseInt(bits.slice(5 * each, 5 * each + 5), 2)]).join("")}`;
}
