// Stopping something, or letting it go on: a record `strongroom/negative/v1` that this page makes itself, or that others
// have asserted already. It goes to guard first, without the console.

import { bytesOf, encode, record } from "./canonical.js";
import { facts, grouped, h, note, written } from "./dom.js";
import { freezeEpoch, hand, HandOverError, instructGuard } from "./exchange.js";
import { ORGANISATION } from "./identifier.js";
import { ACTIONS } from "./link.js";
import { DocumentError, hexOf, readRecord, recordHash } from "./record.js";
import { present } from "./sheet.js";

export const NEGATIVE_TYPE = "strongroom/negative/v1";
const MINUTE_MS = 60_000;
const REFUSED = 409;
/** Of what others must join, or somebody uses on another machine. */
const LONG = ["unfreeze", "recover"];
const BODY = "[a-z2-7]{26}";
const SCOPE = new RegExp(`^(?:organisation|(?:asset|network):[!-~]{1,150}|client:cl_${BODY}|beneficiary:ben_${BODY})$`);
const PAYABLE = new RegExp(`^(?:po|run)_${BODY}$`);
const OBJECTS = {
  freeze: SCOPE, unfreeze: SCOPE, cancel: PAYABLE, decline: PAYABLE, revoke: new RegExp(`^ak_${BODY}$`),
  suspend: new RegExp(`^pe_${BODY}$`), veto: /^[0-9a-f]{64}$/, resolve: /^[a-z0-9][a-z0-9_.:-]{0,63}$/,
  recover: /^network:[!-~]{1,150}$/,
};
const WORDS = {
  freeze: ["Freeze", "No payment of this scope is signed from now on, until a quorum unfreezes it."],
  unfreeze: ["Unfreeze", "Payments of this scope go on, once a quorum has asserted this."],
  cancel: ["Cancel", "This will never be paid."],
  decline: ["Decline", "This will never be paid."],
  revoke: ["Revoke a key", "Nothing that this key signs counts from now on."],
  suspend: ["Suspend a person", "Nothing that this person asserts counts for 72 hours, but for a veto."],
  veto: ["Veto a change", "This pending change of roster or policy will not come into force."],
  resolve: ["Resolve an alarm", "Payments go on that this alarm had stopped. Do you know why it was raised?"],
  recover: ["Allow one recovery", "One sweep or cancel on this network may be signed while it is frozen. It pays nobody."],
};
const STOPS = ["freeze", "cancel", "decline", "revoke", "suspend", "veto"];

export async function instruct(config, asked) {
  if (!OBJECTS[asked.action].test(asked.object)) throw new DocumentError("object", `can't be what ${asked.action} is about`);
  const text = asked.record ?? (await make(config, asked));
  const negative = readNegative(text);
  check(negative, asked);
  const bytes = bytesOf(text);
  const [verb, meaning] = WORDS[negative.action];
  const given = asked.record === null ? [] : asked.given;
  present(config, asked, {
    title: [h("h1", {}, verb)],
    parts: [
      note(STOPS.includes(negative.action) ? "warn" : "bad", meaning, ""),
      facts(
        ["of", negative.object === "organisation" ? "the whole organisation" : objectShown(negative.object)],
        ["organisation", grouped(negative.organisation)],
        ["freeze epoch", negative.epoch === 0 ? null : String(negative.epoch)],
        ["asserted before by", given.length === 0 ? null : h("ul", {}, ...given.map((each) => h("li", { class: "mono" }, each.person)))],
      ),
    ],
    bytes, hash: await recordHash(NEGATIVE_TYPE, bytes), sentences: [], verb: `${verb} with passkey`, tone: "stop",
    expires: negative.expires,
    give: (assertion) => give(config, negative, text, [...given.filter((each) => each.person !== asked.person), assertion]),
  });
}

function objectShown(object) {
  return h("span", { class: "mono wrap" }, written(object));
}

/** The canonical text of a new record. */
export function writeNegative(negative) {
  return encode(record({
    action: negative.action, expires_ms: negative.expires, freeze_epoch: negative.epoch, object: negative.object,
    organisation: negative.organisation, record_id: negative.recordId, type: NEGATIVE_TYPE,
  }));
}

/** Throws: DocumentError. */
export function readNegative(text) {
  const fields = readRecord(text, NEGATIVE_TYPE);
  const read = {
    action: fields.oneOf("action", ACTIONS),
    expires: fields.instant("expires_ms"),
    epoch: fields.integer("freeze_epoch", 0, 2 ** 31),
    object: fields.text("object", 160),
    organisation: fields.parsed("organisation", ORGANISATION, "the id of an organisation"),
    recordId: fields.hash("record_id"),
  };
  if (!OBJECTS[read.action].test(read.object)) fields.fail("object", `can't be what ${read.action} is about`);
  return fields.done(read);
}

async function make(config, asked) {
  const isLong = LONG.includes(asked.action);
  return writeNegative({
    action: asked.action, expires: Date.now() + (isLong ? 30 : 5) * MINUTE_MS,
    epoch: isLong ? await freezeEpoch(config, asked.organisation) : 0, object: asked.object,
    organisation: asked.organisation, recordId: hexOf(crypto.getRandomValues(new Uint8Array(32))),
  });
}

/** A record that others began must be what the link says, and alive. */
function check(negative, asked) {
  for (const name of ["action", "object", "organisation"]) {
    if (negative[name] !== asked[name]) throw new DocumentError(name, "isn't what the link says");
  }
  if (negative.expires <= Date.now()) throw new DocumentError("expires_ms", "has passed: begin again");
}

async function give(config, negative, text, assertions) {
  const body = { assertions, organisation: negative.organisation, record: btoa(text) };
  let length = null;
  try {
    length = (await instructGuard(config, body)).integer("control_length", 1, Number.MAX_SAFE_INTEGER);
  } catch (fault) {
    if (!(fault instanceof HandOverError) || fault.status !== REFUSED || !fault.message.includes("quorum")) throw fault;
  }
  const told = await tell(config, { assertions, control_length: length, record: text }, length === null);
  return length === null
    ? [h("strong", {}, "Asserted; more people are needed"), h("p", {}, "The console has it, and asks the next of them.")]
    : [h("strong", {}, `Guard keeps it, as instruction ${length}`), h("p", {}, told)];
}

/** The console only hears of what guard keeps; what needs more people it must take. */
async function tell(config, body, isNeeded) {
  try {
    await hand(config, "instruct", body);
    return "You can close this tab.";
  } catch (fault) {
    if (isNeeded || !(fault instanceof HandOverError)) throw fault;
    return `It is in force; ${fault.message}.`;
  }
}
