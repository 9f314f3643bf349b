// The approval request `strongroom/approval-request/v1`: what the signer writes and signs, and will check itself.

import { bytesOf } from "./canonical.js";
import { ASSET, BENEFICIARY, CLASSES, DEPLOYMENT, HEX_HASH, MAKER, NETWORK, ORGANISATION, PAYOUT, PERSON, RUN } from "./identifier.js";
import { bytesOfHex, DocumentError, readRecord, recordHash } from "./record.js";

export const APPROVAL_REQUEST_TYPE = "strongroom/approval-request/v1";
const LIFE_MAXIMUM_MS = 24 * 3_600_000;
const CLOCK_SKEW_MS = 5 * 60_000;
const ASSETS_MAXIMUM = 64;
const PEOPLE_MAXIMUM = 1_000;
const ITEMS_MAXIMUM = 200_000;

/** The request, read from its text once the signer's signature holds. Throws: DocumentError. */
export async function openRequest(text, signature, config, now) {
  const bytes = bytesOf(text);
  const hash = await recordHash(APPROVAL_REQUEST_TYPE, bytes);
  await checkStatement(config.statement_public_key, hash, signature);
  const request = readRequest(text);
  if (request.deployment !== config.deployment) throw new DocumentError("deployment", "is another one than this station's");
  if (request.expires <= now) throw new DocumentError("expires_ms", "has passed: the signer makes another request");
  if (request.expires > now + LIFE_MAXIMUM_MS + CLOCK_SKEW_MS) {
    throw new DocumentError("expires_ms", "lies more than 24 hours ahead: is this machine's clock right?");
  }
  return { request, bytes, hash };
}

async function checkStatement(key, hash, signature) {
  let pinned;
  try {
    pinned = await crypto.subtle.importKey("raw", bytesOfHex(key), { name: "Ed25519" }, false, ["verify"]);
  } catch {
    throw new DocumentError("", "this browser can't verify the signer's signature (Ed25519): take a newer one");
  }
  if (!(await crypto.subtle.verify({ name: "Ed25519" }, pinned, bytesOfHex(signature), hash))) {
    throw new DocumentError("signature", "isn't the signer's: this request isn't what the signer will check");
  }
}

/** Every field, in its form; what isn't known is refused. Throws: DocumentError. */
export function readRequest(text) {
  const fields = readRecord(text, APPROVAL_REQUEST_TYPE);
  const kind = fields.oneOf("kind", ["payout", "run"]);
  const terms = {
    kind,
    approvals: fields.integer("approvals", 1, 16),
    client: fields.parsed("client", MAKER, "the id of a client or person"),
    deployment: fields.parsed("deployment", DEPLOYMENT, "the id of a deployment"),
    excluded: fields.distinct("excluded", PEOPLE_MAXIMUM, PERSON, "the id of a person"),
    expires: fields.instant("expires_ms"),
    freezeEpoch: fields.integer("freeze_epoch", 0, 2 ** 31),
    groups: fields.integer("groups", 1, 16),
    intent: fields.hash("intent"),
    organisation: fields.parsed("organisation", ORGANISATION, "the id of an organisation"),
    policy: fields.hash("policy"),
    roster: fields.hash("roster"),
    ticket: fields.hex("ticket", 16, 16),
  };
  return fields.done({ ...terms, ...(kind === "payout" ? payout(fields) : run(fields)) });
}

function payout(fields) {
  const asset = fields.parsed("asset", ASSET, "the CAIP-19 name of an asset");
  return {
    amount: fields.minor("amount"),
    asset,
    beneficiary: fields.parsed("beneficiary", BENEFICIARY, "the id of a beneficiary"),
    destination: destination(fields.inner("destination")),
    externalId: fields.text("external_id", 100),
    payout: fields.parsed("payout", PAYOUT, "the id of a payout"),
  };
}

function destination(fields) {
  return fields.done({
    address: fields.text("address"),
    class: fields.oneOf("class", CLASSES),
    digest: fields.parsed("digest", HEX_HASH, "a hash"),
    name: fields.text("name"),
    network: fields.parsed("network", NETWORK, "the CAIP-2 name of a network"),
    version: fields.integer("version", 1, 2 ** 31),
  });
}

function run(fields) {
  const totals = fields.inner("totals");
  const names = totals.names();
  if (names.length === 0 || names.length > ASSETS_MAXIMUM) fields.fail("totals", `must name 1 to ${ASSETS_MAXIMUM} assets`);
  for (const name of names) if (!ASSET.test(name)) totals.fail(name, "isn't the CAIP-19 name of an asset");
  return {
    count: fields.integer("count", 1, ITEMS_MAXIMUM),
    root: fields.hash("root"),
    run: fields.parsed("run", RUN, "the id of a run"),
    totals: new Map(names.map((name) => [name, totals.minor(name)])),
  };
}
