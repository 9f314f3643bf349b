// The page: reads what it is told about itself, then what it was opened with, and shows that or refuses it.

import { CanonicalError, parse } from "./canonical.js";
import { approve } from "./approve.js";
import { change } from "./change.js";
import { enrol } from "./enrol.js";
import { HandOverError } from "./exchange.js";
import { instruct } from "./instruct.js";
import { intent } from "./intent.js";
import { readLink } from "./link.js";
import { DEPLOYMENT } from "./identifier.js";
import { DocumentError, Fields } from "./record.js";
import { refuse } from "./sheet.js";

const PAGES = { approve, change, enrol, instruct, intent };
const ORIGIN = /^https?:\/\/[a-z0-9.-]{1,253}(?::[0-9]{1,5})?$/;

async function readConfig() {
  const answer = await fetch("/config.json", { credentials: "omit", cache: "no-store" });
  if (!answer.ok) throw new DocumentError("config.json", `can't be read (${answer.status})`);
  const fields = new Fields(parse(new Uint8Array(await answer.arrayBuffer())), "config.json");
  return fields.done({
    console_origin: fields.parsed("console_origin", ORIGIN, "an origin"),
    guard_origin: fields.parsed("guard_origin", ORIGIN, "an origin"),
    relying_party_id: fields.text("relying_party_id"),
    deployment: fields.parsed("deployment", DEPLOYMENT, "the id of a deployment"),
    statement_public_key: fields.hash("statement_public_key"),
  });
}

/** Alone in its tab: what has a hold on the window could move it under the cursor. */
function checkAlone() {
  if (window.top !== window.self) throw new DocumentError("", "this page doesn't run inside another");
  if (window.opener !== null) throw new DocumentError("", "whoever opened this page kept a hold on it");
}

async function start() {
  const fragment = location.hash;
  history.replaceState(null, "", "/");
  window.addEventListener("hashchange", () => {
    history.replaceState(null, "", "/");
    refuse("something else was opened in this tab: close it, and open what is to be signed again");
  });
  try {
    checkAlone();
    const config = await readConfig();
    document.getElementById("deployment").textContent = config.deployment;
    const asked = readLink(fragment);
    await PAGES[asked.kind](config, asked);
  } catch (fault) {
    const isKnown = fault instanceof DocumentError || fault instanceof HandOverError || fault instanceof CanonicalError;
    refuse(isKnown ? fault.message : `this can't be read (${fault.name})`);
  }
}

start();
