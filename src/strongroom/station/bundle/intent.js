// Asking for something oneself: the record `strongroom/intent/v1`, which holds the path and body that a program would
// send. Whoever asks is the maker: somebody else must approve it.

import { bytesOf, parse } from "./canonical.js";
import { amountTitle, assetShown, destinationShown, itemsShown, ruleOf, runSentences, runTitle, sentencesFor } from "./approve.js";
import { facts, grouped, h, note, section, written } from "./dom.js";
import { fetchItems, hand } from "./exchange.js";
import { DEPLOYMENT, HEX_HASH, KEY, NETWORK, ORGANISATION, PERSON, runId } from "./identifier.js";
import { readPolicy } from "./papers.js";
import { DocumentError, Fields, hexOf, readRecord, recordHash } from "./record.js";
import { ITEMS_BYTES_MAXIMUM, openDestinations, openItems, readItem, readPayout, totalsOf, withDestination } from "./run.js";
import { present } from "./sheet.js";
import { itemLeaf, leafHash, rootOf } from "./tree.js";

export const INTENT_TYPE = "strongroom/intent/v1";
const BODY = "[a-z2-7]{26}";
const AGE_MAXIMUM_MS = 15 * 60_000;
const PATHS = [
  [/^\/v1\/payouts$/, payout],
  [/^\/v1\/payout-runs$/, run],
  [new RegExp(`^/v1/payout-runs/run_${BODY}/seal$`), seal],
  [/^\/v1\/beneficiaries$/, beneficiary],
  [new RegExp(`^/v1/beneficiaries/ben_${BODY}/destinations$`), nextDestination],
  [new RegExp(`^/v1/(?:payouts/po|payout-runs/run)_${BODY}/cancel$`), cancel],
];

export async function intent(config, asked) {
  const read = readIntent(asked.record);
  if (read.deployment !== config.deployment) throw new DocumentError("deployment", "is another one than this station's");
  if (read.person !== asked.person) throw new DocumentError("person", "isn't who is asked");
  if (Math.abs(Date.now() - read.created) > AGE_MAXIMUM_MS) throw new DocumentError("created_ms", "isn't now: begin again");
  const [, show] = PATHS.find(([pattern]) => pattern.test(read.path)) ?? [];
  if (show === undefined) throw new DocumentError("path", "isn't one that this station knows");
  const policy = asked.policy === null ? null : await readPolicy(asked.policy, null);
  const shown = await show(new Fields(read.body, "body"), { config, asked, read, policy });
  const bytes = bytesOf(asked.record);
  present(config, asked, {
    ...shown, bytes, hash: await recordHash(INTENT_TYPE, bytes), verb: "Ask for it with passkey",
    expires: read.created + AGE_MAXIMUM_MS,
    parts: [
      note("warn", "You ask for this", "Somebody else must approve it; you don't count."), ...shown.parts,
      section("As what", facts(["organisation", grouped(read.organisation)], ["idempotency key", h("span", { class: "mono wrap" }, read.key)],
        ["path", h("span", { class: "mono wrap" }, read.path)])),
    ],
    give: async (assertion, confirmed) => {
      await hand(config, "intent", { assertion, confirmed, record: asked.record });
      return [h("strong", {}, "Asked for and handed over"), h("p", {}, "You can close this tab.")];
    },
  });
}

/** Throws: DocumentError. */
export function readIntent(text) {
  const fields = readRecord(text, INTENT_TYPE);
  return fields.done({
    body: fields.take("body"),
    created: fields.instant("created_ms"),
    deployment: fields.parsed("deployment", DEPLOYMENT, "the id of a deployment"),
    key: fields.parsed("idempotency_key", KEY, "visible ASCII"),
    organisation: fields.parsed("organisation", ORGANISATION, "the id of an organisation"),
    path: fields.text("path"),
    person: fields.parsed("person", PERSON, "the id of a person"),
  });
}

async function payout(fields, { asked, read, policy }) {
  const item = readPayout(fields);
  fields.close();
  if (asked.destination === null) throw new DocumentError("destination", "is missing: where it is paid can't be shown");
  const { destination } = withDestination(item, await openDestinations([asked.destination], read.organisation), 0);
  const rule = ruleOf(policy, item.asset);
  return {
    title: amountTitle(item.amount, item.asset, rule),
    parts: [assetShown(item.asset, rule), destinationShown({ ...destination, digest: item.digest }), section("What it is for", facts(
      ["external id", written(item.externalId)], ["not before", item.notBefore], ["expires", item.expiresAt],
      ["instead of", item.replaces === null ? null : grouped(item.replaces)],
      ...item.others.map(([name, value]) => [name.replaceAll("_", " "), plain(value)]),
    ))],
    sentences: sentencesFor(destination),
  };
}

async function run(fields, { config, asked, read, policy }) {
  const items = fields.each("items", 10_000).map(readItem);
  const said = fields.inner("seal");
  const externalId = fields.has("external_id") ? fields.text("external_id", 100) : null;
  fields.close();
  if (asked.items === null) throw new DocumentError("items", "are missing: where they are paid can't be shown");
  const sent = new Fields(parse(await fetchItems(config, asked.items, ITEMS_BYTES_MAXIMUM)));
  const destinations = await openDestinations(sent.list("destinations", 10_000), read.organisation);
  const shown = items.map((item, index) => withDestination(item, destinations, index));
  const totals = totalsOf(shown);
  const id = await runId(read.organisation, read.person, read.key);
  const leaves = fields.value.get("items").map((item, index) => itemLeaf(item, id, index));
  checkSeal(said, shown.length, totals, hexOf(await rootOf(await Promise.all(leaves.map(leafHash)))));
  return {
    title: runTitle(shown.length, totals, policy),
    parts: [externalId === null ? null : facts(["external id", written(externalId)]), ...itemsShown(shown, policy)].filter((each) => each !== null),
    sentences: runSentences(shown),
  };
}

/** A person's run is sealed in the same word. */
function checkSeal(fields, count, totals, root) {
  const said = readSeal(fields);
  if (said.count !== count) throw new DocumentError("seal.count", `isn't ${count}`);
  for (const asset of new Set([...said.totals.keys(), ...totals.keys()])) {
    if (said.totals.get(asset) !== totals.get(asset)) {
      throw new DocumentError(`seal.totals.${asset}`, `isn't the sum of the items, ${totals.get(asset) ?? 0n}`);
    }
  }
  if (said.root !== root) throw new DocumentError("seal.root", "isn't the root of these items");
}

function readSeal(fields) {
  const totals = fields.inner("totals");
  const names = totals.names();
  return fields.done({
    count: fields.integer("count", 1, 200_000), root: fields.hash("root"),
    totals: new Map(names.map((name) => [name, totals.minor(name)])),
  });
}

/** Of a run whose items were sent before. */
async function seal(fields, { config, asked, read, policy }) {
  const request = { ...readSeal(fields), organisation: read.organisation, run: read.path.split("/")[3] };
  if (asked.items === null) throw new DocumentError("items", "are missing: a run is shown with all of them, or not at all");
  const items = await openItems(await fetchItems(config, asked.items, ITEMS_BYTES_MAXIMUM), request);
  return {
    title: runTitle(items.length, request.totals, policy),
    parts: [facts(["run", grouped(request.run)], ["root", grouped(request.root)]), ...itemsShown(items, policy)],
    sentences: runSentences(items),
  };
}

function beneficiary(fields) {
  const name = fields.text("name");
  const externalId = fields.has("external_id") ? fields.text("external_id", 100) : null;
  const destination = fields.inner("destination");
  const read = where(destination);
  fields.close();
  return {
    title: [h("h1", {}, "A new beneficiary")],
    parts: [destinationShown({ ...read, name, class: "declared", version: 1 }), facts(["external id", externalId === null ? null : written(externalId)])],
    sentences: sentencesFor({ name, class: "declared", version: 1 }),
  };
}

function nextDestination(fields, { read }) {
  const version = fields.integer("version", 2, 1_000);
  const previous = fields.parsed("previous", HEX_HASH, "a hash");
  const name = read.path.split("/")[3];
  const found = where(fields);
  return {
    title: [h("h1", {}, "Another address for a beneficiary")],
    parts: [destinationShown({ ...found, name, class: "declared", version }), facts(["in place of", grouped(previous)])],
    sentences: sentencesFor({ name, class: "declared", version }),
  };
}

function where(fields) {
  const network = fields.parsed("network", NETWORK, "the CAIP-2 name of a network");
  const isBank = network === "sepa";
  for (const name of isBank ? ["address"] : ["account_holder", "country", "iban"]) {
    if (fields.has(name)) fields.fail(name, `isn't for ${network}`);
  }
  return fields.done(isBank
    ? { network, holder: fields.text("account_holder", 140), country: fields.text("country", 2), address: fields.text("iban", 34) }
    : { network, holder: null, country: null, address: fields.text("address") });
}

function cancel(fields, { read }) {
  fields.parsed("idempotency_key", KEY, "visible ASCII");
  fields.close();
  return { title: [h("h1", {}, "Cancel")], parts: [facts(["of", grouped(read.path.split("/")[3])])], sentences: [] };
}

function plain(value) {
  return typeof value === "string" ? written(value) : h("span", { class: "mono wrap" }, written(JSON.stringify(value instanceof Map ? Object.fromEntries(value) : value)));
}
