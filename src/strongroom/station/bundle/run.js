// The items of a run with their destinations, fetched from the console and believed only if all of it recomputes: count,
// totals, root, and the digest of every destination. Then they are as good as the request itself.

import { bytesOf, parse } from "./canonical.js";
import { ASSET, BENEFICIARY, CLASSES, HEX_HASH, KEY, NETWORK, ORGANISATION, PAYOUT } from "./identifier.js";
import { DocumentError, Fields, hexOf, readRecord, recordHash } from "./record.js";
import { itemLeaf, leafHash, rootOf } from "./tree.js";

export const DESTINATION_TYPE = "strongroom/destination/v1";
export const ITEMS_BYTES_MAXIMUM = 64 * 2 ** 20;
const ITEMS_MAXIMUM = 200_000;
const LET_BY = ["remittance_information", "activities", "on_hold", "actor", "metadata"];
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/;
const OUTLYING = 3n;

/** Items and destinations of `GET /station/items/TOKEN`, in bytes. Throws: DocumentError. */
export async function openItems(bytes, request) {
  const fields = new Fields(parse(bytes), "");
  const items = fields.list("items", ITEMS_MAXIMUM);
  const texts = fields.list("destinations", ITEMS_MAXIMUM);
  fields.close();
  if (items.length !== request.count) {
    throw new DocumentError("count", `is ${request.count}, and the console sent ${items.length} items`);
  }
  const leaves = items.map((item, index) => itemLeaf(new Fields(item, `items[${index}]`).value, request.run, index));
  const hashes = await Promise.all(leaves.map(leafHash));
  if (hexOf(await rootOf(hashes)) !== request.root) throw new DocumentError("root", "isn't the root of these items");
  const destinations = await openDestinations(texts, request.organisation);
  const read = items.map((item, index) => withDestination(readItem(new Fields(item, `items[${index}]`)), destinations, index));
  checkTotals(read, request.totals);
  if (new Set(read.map((each) => each.digest)).size !== destinations.size) {
    throw new DocumentError("destinations", "has some that no item names");
  }
  return read;
}

/** Digest → destination, each recomputed. Throws: DocumentError. */
export async function openDestinations(texts, organisation) {
  const opened = await Promise.all(texts.map(async (text, index) => {
    if (typeof text !== "string") throw new DocumentError(`destinations[${index}]`, "must be the text of a record");
    const destination = readDestination(text);
    if (destination.organisation !== organisation) {
      throw new DocumentError(`destinations[${index}]`, "is of another organisation");
    }
    return [hexOf(await recordHash(DESTINATION_TYPE, bytesOf(text))), destination];
  }));
  return new Map(opened);
}

/** A record `strongroom/destination/v1`. Throws: DocumentError. */
export function readDestination(text) {
  const fields = readRecord(text, DESTINATION_TYPE);
  const version = fields.integer("version", 1, 2 ** 31);
  if (version > 1) fields.hash("previous");
  else if (fields.take("previous") !== null) throw new DocumentError("previous", "must be null in version 1");
  const read = {
    version,
    organisation: fields.parsed("organisation", ORGANISATION, "the id of an organisation"),
    beneficiary: fields.parsed("beneficiary", BENEFICIARY, "the id of a beneficiary"),
    name: fields.text("name"),
    class: fields.oneOf("class", CLASSES),
    network: fields.parsed("network", NETWORK, "the CAIP-2 name of a network"),
  };
  return fields.done({ ...read, ...where(fields) });
}

/** A chain address, or a bank account: `holder` stands beside its IBAN. */
function where(fields) {
  if (!fields.names().includes("account")) return { address: fields.text("address"), holder: null, country: null };
  const account = fields.inner("account");
  return account.done({
    holder: account.text("account_holder"), country: account.text("country", 2), address: account.text("iban", 34),
  });
}

/** What one item, or the body of a payout, asks for. Throws: DocumentError. */
export function readItem(fields) {
  const item = readPayout(fields);
  item.key = fields.parsed("idempotency_key", KEY, "visible ASCII");
  return fields.done(item);
}

export function readPayout(fields) {
  const others = LET_BY.filter((name) => fields.has(name)).map((name) => [name, fields.take(name)]);
  return {
    others,
    amount: fields.minor("amount"),
    asset: fields.parsed("asset", ASSET, "the CAIP-19 name of an asset", 120),
    beneficiary: fields.parsed("beneficiary", BENEFICIARY, "the id of a beneficiary"),
    digest: fields.parsed("destination_digest", HEX_HASH, "a hash"),
    externalId: fields.text("external_id", 100),
    notBefore: fields.has("not_before") ? fields.parsed("not_before", TIME, "a time in UTC") : null,
    expiresAt: fields.has("expires_at") ? fields.parsed("expires_at", TIME, "a time in UTC") : null,
    replaces: fields.has("replaces") ? fields.parsed("replaces", PAYOUT, "the id of a payout") : null,
  };
}

/** The item with its destination, which must be its beneficiary's. Throws: DocumentError. */
export function withDestination(item, destinations, index) {
  const destination = destinations.get(item.digest);
  if (destination === undefined) throw new DocumentError(`items[${index}]`, "its destination wasn't sent");
  if (destination.beneficiary !== item.beneficiary) {
    throw new DocumentError(`items[${index}]`, "its destination is somebody else's");
  }
  return { ...item, destination, index };
}

/** Asset → sum. */
export function totalsOf(items) {
  const sums = new Map();
  for (const item of items) sums.set(item.asset, (sums.get(item.asset) ?? 0n) + item.amount);
  return sums;
}

function checkTotals(items, totals) {
  const sums = totalsOf(items);
  for (const asset of new Set([...sums.keys(), ...totals.keys()])) {
    if (sums.get(asset) !== totals.get(asset)) {
      throw new DocumentError(`totals.${asset}`, `isn't the sum of the items, which is ${sums.get(asset) ?? 0n}`);
    }
  }
}

/**
 * Why an item stands out among those of its asset: a list of reasons for each that does, in the order of the items. What
 * is true of most of them makes none stand out.
 */
export function outliersOf(items) {
  const amounts = new Map();
  for (const item of items) {
    if (!amounts.has(item.asset)) amounts.set(item.asset, []);
    amounts.get(item.asset).push(item.amount);
  }
  const measures = new Map();
  for (const [asset, all] of amounts) {
    const sorted = all.toSorted((a, b) => (a < b ? -1 : Number(a > b)));
    measures.set(asset, { largest: sorted[sorted.length - 1], median: sorted[(sorted.length - 1) >> 1] });
  }
  const mostAreDeclared = 2 * items.filter((each) => each.destination.class === "declared").length > items.length;
  return items.flatMap((item) => {
    const { largest, median } = measures.get(item.asset);
    const reasons = [];
    if (item.amount > OUTLYING * median) reasons.push("above 3 × the median");
    if (item.amount === largest) reasons.push("the largest");
    if (item.destination.class === "declared" && !mostAreDeclared) reasons.push("its address was declared and not confirmed");
    if (item.destination.version > 1) reasons.push("its address was changed before");
    return reasons.length === 0 ? [] : [{ item, reasons }];
  });
}
