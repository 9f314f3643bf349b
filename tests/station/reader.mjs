// The station's readers, asked by tests: a line of JSON in, a line of JSON out.

import { createInterface } from "node:readline";
import { encode, parse, record } from "./canonical.js";
import { fieldsOf, difference, lines } from "./difference.js";
import { runId } from "./identifier.js";
import { readNegative, writeNegative } from "./instruct.js";
import { readIntent } from "./intent.js";
import { readLink } from "./link.js";
import { worthText } from "./money.js";
import { phrase, proquint } from "./phrase.js";
import { hexOf, recordHash, readRecord } from "./record.js";
import { openRequest, readRequest } from "./request.js";
import { openItems, outliersOf, readDestination } from "./run.js";
import { leafHash, rootOf } from "./tree.js";

const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const text = (encoded) => Buffer.from(encoded, "base64").toString("utf8");
const plain = (value) => JSON.parse(JSON.stringify(value, (_, each) => {
  if (typeof each === "bigint") return each.toString();
  if (each instanceof Map) return Object.fromEntries(each);
  return each instanceof Uint8Array ? Buffer.from(each).toString("hex") : each;
}));

const ASKS = {
  canonical: ({ raw }) => encode(parse(bytes(raw))),
  destination: ({ raw }) => readDestination(text(raw)),
  difference: ({ before, after }) => {
    const [old, now] = [parse(bytes(before)), parse(bytes(after))];
    return { fields: fieldsOf(old, now), lines: difference(lines(old), lines(now)) };
  },
  hash: async ({ type, raw }) => hexOf(await recordHash(type, bytes(raw))),
  intent: ({ raw }) => readIntent(text(raw)),
  items: async ({ raw, run }) => {
    const request = readRequest(text(run));
    const items = await openItems(bytes(raw), request);
    return { count: items.length, outliers: outliersOf(items).map(({ item, reasons }) => [item.index, reasons]) };
  },
  link: ({ fragment }) => readLink(fragment),
  negative: ({ raw }) => readNegative(text(raw)),
  open: async ({ raw, signature, config, now }) => (await openRequest(text(raw), signature, config, now)).request,
  phrase: ({ digest }) => phrase(bytes(digest)),
  proquint: ({ number }) => proquint(number),
  record: ({ raw, type }) => { readRecord(text(raw), type); return true; },
  request: ({ raw }) => readRequest(text(raw)),
  root: async ({ leaves }) => hexOf(await rootOf(await Promise.all(leaves.map((each) => leafHash(bytes(each)))))),
  run_id: ({ organisation, client, key }) => runId(organisation, client, key),
  worth: ({ minor, asset, rule }) => worthText(BigInt(minor), asset, rule),
  write_negative: ({ negative }) => writeNegative(negative),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { value: plain(await ASKS[ask](given)) };
  } catch (fault) {
    answer = { refused: fault.message, field: fault.field ?? "", kind: fault.constructor.name };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
