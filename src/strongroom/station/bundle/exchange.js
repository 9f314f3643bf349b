// What the page says to the console and to guard, and to nobody else: its CSP lets it reach no other origin.

import { CanonicalError, parse } from "./canonical.js";
import { DocumentError, Fields } from "./record.js";

const TIMEOUT_MS = 30_000;
const PROBLEM_MAXIMUM = 300;

/** `status` is what it was refused with, 0 if nothing came. */
export class HandOverError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** To the console. Throws: HandOverError. */
export async function hand(config, kind, body) {
  return send(`${config.console_origin}/station/${kind}`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  }, "the console");
}

/** To guard, as text: so it needs no preflight, and guard needs no answer to one. Throws: HandOverError. */
export async function instructGuard(config, body) {
  return new Fields(parse(await send(`${config.guard_origin}/v1/negatives`, {
    method: "POST", headers: { "content-type": "text/plain" }, body: JSON.stringify(body),
  }, "guard")));
}

/** An organisation's freeze epoch, as guard has it. Throws: HandOverError. */
export async function freezeEpoch(config, organisation) {
  const status = new Fields(parse(await send(`${config.guard_origin}/v1/status`, { method: "GET" }, "guard")));
  const organisations = status.inner("organisations");
  if (!organisations.has(organisation)) throw new HandOverError("guard doesn't know this organisation");
  return organisations.inner(organisation).integer("freeze_epoch", 0, 2 ** 31);
}

/** The bytes of a run's items. Throws: HandOverError, DocumentError if they are too many. */
export async function fetchItems(config, token, maximum) {
  const bytes = await send(`${config.console_origin}/station/items/${token}`, { method: "GET" }, "the console");
  if (bytes.length > maximum) throw new DocumentError("items", `are longer than ${maximum} bytes`);
  return bytes;
}

async function send(url, options, whom) {
  let answer;
  let bytes;
  try {
    answer = await fetch(url, {
      ...options, credentials: "omit", mode: "cors", redirect: "error", cache: "no-store", referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    bytes = new Uint8Array(await answer.arrayBuffer());
  } catch {
    throw new HandOverError(`${whom} can't be reached`);
  }
  if (!answer.ok) throw new HandOverError(`${whom} refuses (${answer.status}): ${detailOf(bytes)}`, answer.status);
  return bytes;
}

function detailOf(bytes) {
  try {
    const detail = parse(bytes).get("detail");
    return typeof detail === "string" ? detail.slice(0, PROBLEM_MAXIMUM) : "no reason was given";
  } catch (fault) {
    if (fault instanceof CanonicalError || fault instanceof TypeError) return "no reason was given";
    throw fault;
  }
}
