// Approving a payout or a run: all that is shown is read from the request that the signer signed, from the policy and
// roster that it names, and from items that recompute to the root in it.

import { h, facts, grouped, note, section, written } from "./dom.js";
import { fetchItems, hand } from "./exchange.js";
import { contractOf, worth, worthText } from "./money.js";
import { readPolicy, readRoster } from "./papers.js";
import { DocumentError, hexOf } from "./record.js";
import { openRequest } from "./request.js";
import { ITEMS_BYTES_MAXIMUM, openItems, outliersOf } from "./run.js";
import { present } from "./sheet.js";

const CLASS_WORDS = {
  declared: "declared by who asks; nobody else has confirmed it",
  payee_verified: "proven by the payee",
  allowlisted: "confirmed by a quorum of people",
};

export async function approve(config, asked) {
  const { request, bytes, hash } = await openRequest(asked.request, asked.signature, config, Date.now());
  if (request.excluded.includes(asked.person)) {
    throw new DocumentError("excluded", "you speak for who asked for this or named its destination, so your approval wouldn't count");
  }
  const policy = await readPolicy(asked.policy, request.policy);
  const roster = await readRoster(asked.roster, request.roster);
  if (roster !== null && !roster.has(asked.person)) throw new DocumentError("person", "isn't in the roster");
  const shown = request.kind === "payout" ? payoutShown(request, policy) : await runShown(config, asked, request, policy);
  present(config, asked, {
    ...shown, bytes, hash, verb: "Approve with passkey", expires: request.expires,
    parts: [...shown.parts, termsShown(request, roster)],
    give: async (assertion, confirmed) => {
      await hand(config, "approve", { assertion, confirmed, request: hexOf(hash) });
      return [h("strong", {}, "Approved and handed over"), h("p", {}, "You can close this tab.")];
    },
  });
}

/** Asset → its rule, null without a policy. A policy that doesn't have it is refused. */
export function ruleOf(policy, asset) {
  if (policy === null) return null;
  if (!policy.has(asset)) throw new DocumentError("asset", `${asset} isn't in the policy`);
  return policy.get(asset);
}

function payoutShown(request, policy) {
  const rule = ruleOf(policy, request.asset);
  return {
    title: amountTitle(request.amount, request.asset, rule),
    parts: [
      assetShown(request.asset, rule),
      destinationShown(request.destination),
      section("What it is for", facts(["external id", written(request.externalId)], ["payout", grouped(request.payout)])),
    ],
    sentences: sentencesFor(request.destination),
  };
}

export function amountTitle(minor, asset, rule) {
  const { amount, unit } = worth(minor, asset, rule);
  return [h("h1", { class: "amount" }, h("span", { class: "number" }, amount), " ", h("span", { class: "unit" }, unit))];
}

export function assetShown(asset, rule) {
  const contract = contractOf(asset);
  return h("div", {},
    facts(
      ["asset", h("span", { class: "mono wrap" }, asset)],
      ["token contract", contract === null ? null : grouped(contract)],
      ["in the policy", rule === null ? null : `yes, as ${rule.symbol} with ${rule.decimals} decimals`],
    ),
    rule === null
      ? note("warn", "Base units", "How many decimals this asset has isn't in what you sign, so the amount is shown in its smallest units.")
      : null,
  );
}

export function destinationShown(destination) {
  return section("To",
    h("p", { class: "name" }, written(destination.name)),
    h("p", { class: "address" }, grouped(destination.address)),
    facts(
      ["account holder", destination.holder ? written(destination.holder) : null],
      ["country", destination.country ? written(destination.country) : null],
      ["network", h("span", { class: "mono wrap" }, destination.network)],
      ["this address was", CLASS_WORDS[destination.class]],
      ["version", destination.version === 1 ? "the first" : `${destination.version}: it was changed before`],
      ["digest", destination.digest ? grouped(destination.digest) : null],
    ));
}

/** What a person must confirm about a destination: specific, and only where there is something to check. */
export function sentencesFor(destination) {
  const name = written(destination.name).textContent;
  const sentences = [];
  if (destination.class === "declared") {
    sentences.push(`I checked this address with ${name} by another way than this message.`);
  }
  if (destination.version > 1) {
    sentences.push(`I know that ${name} changed where they are paid (version ${destination.version}).`);
  }
  return sentences;
}

async function runShown(config, asked, request, policy) {
  if (asked.items === null) throw new DocumentError("items", "are missing: a run is shown with all of them, or not at all");
  const items = await openItems(await fetchItems(config, asked.items, ITEMS_BYTES_MAXIMUM), request);
  return {
    title: runTitle(items.length, request.totals, policy),
    parts: [
      facts(["run", grouped(request.run)], ["root", grouped(request.root)]),
      ...itemsShown(items, policy),
    ],
    sentences: runSentences(items),
  };
}

export function runTitle(count, totals, policy) {
  const sums = [...totals].map(([asset, minor]) => h("li", {}, worthText(minor, asset, ruleOf(policy, asset))));
  return [h("h1", { class: "amount" }, h("span", { class: "number" }, String(count)), " payouts"), h("ul", { class: "totals" }, ...sums)];
}

/** Small new payees of a run are one group with one sentence. */
export function runSentences(items) {
  const unconfirmed = items.filter((each) => each.destination.class === "declared").length;
  const changed = items.filter((each) => each.destination.version > 1).length;
  const sentences = [];
  if (unconfirmed > 0) sentences.push(`I know why ${unconfirmed} of these addresses were declared and not confirmed.`);
  if (changed > 0) sentences.push(`I know why ${changed} of these addresses were changed before.`);
  return sentences;
}

const ROWS_AT_ONCE = 500;
const OUTLIERS_SHOWN = 100;

/** Outliers first, then all items in a table that grows by hand. */
export function itemsShown(items, policy) {
  const outliers = outliersOf(items);
  const declared = items.filter((each) => each.destination.class === "declared").length;
  const body = h("tbody", {});
  const more = h("button", { type: "button", class: "plain" });
  let shown = 0;
  function grow() {
    for (const item of items.slice(shown, shown + ROWS_AT_ONCE)) body.append(itemRow(item, policy));
    shown = Math.min(shown + ROWS_AT_ONCE, items.length);
    more.textContent = `Show more: ${items.length - shown} are left`;
    more.hidden = shown === items.length;
  }
  more.addEventListener("click", grow);
  grow();
  return [
    section(`What stands out: ${outliers.length} of ${items.length}`,
      h("p", {}, `${declared} of ${items.length} addresses were declared by who asks, and nobody else has confirmed them.`),
      outliers.length > OUTLIERS_SHOWN ? h("p", {}, `The first ${OUTLIERS_SHOWN} of them; all items are below.`) : null,
      h("ul", { class: "outliers" }, ...outliers.slice(0, OUTLIERS_SHOWN).map(({ item, reasons }) => h("li", {},
        h("strong", {}, worthText(item.amount, item.asset, ruleOf(policy, item.asset))), " to ", written(item.destination.name),
        " ", grouped(item.destination.address), h("span", { class: "muted" }, ` ${reasons.join("; ")}`))))),
    section(`All ${items.length} items`,
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "All items" },
        h("table", {}, h("thead", {}, h("tr", {}, ...["#", "amount", "to", "address", "external id"].map((each) => h("th", { scope: "col" }, each)))), body)),
      more),
  ];
}

function itemRow(item, policy) {
  return h("tr", {},
    h("td", {}, String(item.index + 1)),
    h("td", { class: "right" }, worthText(item.amount, item.asset, ruleOf(policy, item.asset))),
    h("td", {}, written(item.destination.name)),
    h("td", {}, grouped(item.destination.address)),
    h("td", {}, written(item.externalId)));
}

function termsShown(request, roster) {
  const named = (id) => (roster?.has(id) ? h("span", {}, written(roster.get(id)), " ", h("span", { class: "mono small" }, id)) : h("span", { class: "mono" }, id));
  const excluded = request.excluded.length === 0 ? null : h("ul", {}, ...request.excluded.map((each) => h("li", {}, named(each))));
  return section("Who asked, and who is needed", facts(
    [request.client.startsWith("pe_") ? "asked for by" : "asked for by the program", named(request.client)],
    ["needs", `${request.approvals} ${request.approvals === 1 ? "person" : "people"}, of ${request.groups} ${request.groups === 1 ? "group" : "different groups"}`],
    ["don't count", excluded],
    ["organisation", grouped(request.organisation)],
    ["policy", grouped(request.policy)],
    ["roster", grouped(request.roster)],
    ["freeze epoch", String(request.freezeEpoch)],
  ));
}
