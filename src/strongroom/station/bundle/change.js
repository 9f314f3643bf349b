// Agreeing to a new version of the policy or the roster: its text against the version before, line by line, and the
// fields that change. Which versions may follow which, and who must agree, the signer says.

import { bytesOf } from "./canonical.js";
import { facts, grouped, h, note, section, written } from "./dom.js";
import { hand } from "./exchange.js";
import { difference, fieldsOf, lines } from "./difference.js";
import { POLICY_TYPE, ROSTER_TYPE } from "./papers.js";
import { DocumentError, hexOf, readRecord, recordHash } from "./record.js";
import { present } from "./sheet.js";

const TYPES = { policy: POLICY_TYPE, roster: ROSTER_TYPE };
const CHANGES_SHOWN = 500;

export async function change(config, asked) {
  const type = TYPES[asked.document];
  const next = readRecord(asked.record, type).value;
  const before = asked.previous === null ? new Map() : readRecord(asked.previous, type).value;
  await checkFollows(next, before, asked.previous, type);
  const bytes = bytesOf(asked.record);
  const hash = await recordHash(type, bytes);
  const changes = fieldsOf(before, next);
  present(config, asked, {
    title: [h("h1", {}, `Version ${next.get("version")} of the ${asked.document}`)],
    parts: [
      note("warn", "This changes who may pay what", "It comes into force after the policy's delay, if a quorum agrees and nobody vetoes it."),
      facts(["organisation", grouped(String(next.get("organisation")))], ["fields that change", String(changes.length)]),
      section("What changes", h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Fields that change" },
        h("table", {}, h("thead", {}, h("tr", {}, ...["field", "before", "after"].map((each) => h("th", { scope: "col" }, each)))),
          h("tbody", {}, ...changes.slice(0, CHANGES_SHOWN).map(changeRow)))),
        changes.length > CHANGES_SHOWN ? h("p", {}, `The first ${CHANGES_SHOWN}; all are in the text below.`) : null),
      section("The text, line by line", diffShown(lines(before), lines(next))),
    ],
    bytes, hash, sentences: [`I have read all ${changes.length} changes of this ${asked.document}.`],
    verb: "Agree with passkey", expires: null,
    give: async (assertion, confirmed) => {
      await hand(config, "change", { assertion, confirmed, document: asked.document, record: hexOf(hash) });
      return [h("strong", {}, "Agreed and handed over"), h("p", {}, "You can close this tab.")];
    },
  });
}

async function checkFollows(next, before, previous, type) {
  const named = next.get("previous");
  const hash = previous === null ? null : hexOf(await recordHash(type, bytesOf(previous)));
  if (named !== hash) throw new DocumentError("previous", "isn't the version that this one is shown against");
  if (previous !== null && next.get("organisation") !== before.get("organisation")) {
    throw new DocumentError("organisation", "isn't that of the version before");
  }
  if (next.get("version") !== (previous === null ? 1 : before.get("version") + 1)) {
    throw new DocumentError("version", "doesn't follow the version before");
  }
}

function changeRow({ path, old, now }) {
  const cell = (value) => h("td", { class: "mono wrap" }, value === null ? "–" : written(value));
  return h("tr", {}, h("td", { class: "mono wrap" }, written(path)), cell(old), cell(now));
}

function diffShown(before, next) {
  const words = { "-": "gone", "+": "new", " ": "" };
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The text, line by line" },
    h("ol", { class: "diff mono" }, ...difference(before, next).map(({ sign, line }) => h("li", { class: `line ${words[sign]}` },
      h("span", { class: "sign" }, sign === " " ? "\u00a0" : sign), h("span", { class: "code" }, line.replace(/^ +/, (all) => "\u00a0".repeat(all.length)).slice(0, indent(line)), written(line.trimStart()))))));
}

function indent(line) {
  return line.length - line.trimStart().length;
}
