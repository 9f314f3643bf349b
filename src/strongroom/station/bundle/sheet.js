// The sheet that every kind of page is: what is signed, its exact bytes, digest and phrase, what must be confirmed, until
// when, and one button. What is shown never changes under the cursor: when it is over, the button goes.

import { CanonicalError } from "./canonical.js";
import { h, moment, note, section, written } from "./dom.js";
import { HandOverError } from "./exchange.js";
import { assert, PasskeyError } from "./passkey.js";
import { DocumentError, hexOf } from "./record.js";
import { phrase } from "./phrase.js";

const SECOND_MS = 1_000;

export function main() {
  return document.getElementById("page");
}

/** Refuse, with a reason and without an override. */
export function refuse(reason) {
  main().replaceChildren(
    h("h1", {}, "This can't be signed"),
    h("div", { class: "note bad", role: "alert" }, h("strong", {}, "Refused"), h("p", {}, written(reason))),
    h("p", {}, "Nothing was signed. If you didn't expect this, tell your security officer before you try again."),
  );
}

/**
 * Show a sheet. `sheet` has: `title` (nodes of the heading), `parts`, `bytes` and `hash` of what is signed, `sentences`
 * to confirm one by one, `verb` on the button, `tone` of it, `expires` (an instant or null), and `give`, which takes the
 * assertion and the confirmed sentences, hands them over and returns nodes that say what became of it.
 */
export function present(config, asked, sheet) {
  const state = { assertion: null, isOver: false, isBusy: false };
  const boxes = sheet.sentences.map((sentence, index) => ({ sentence, ...confirmation(sentence, index, () => update()) }));
  const button = h("button", { type: "button", class: `primary ${sheet.tone ?? ""}` }, sheet.verb);
  const outcome = h("div", { "aria-live": "polite", class: "outcome" });
  const clock = h("p", { class: "clock" });

  function update() {
    button.disabled = state.isOver || state.isBusy || !boxes.every((each) => each.box.checked);
  }

  async function act() {
    if (state.isOver || state.isBusy) return;
    state.isBusy = true;
    update();
    try {
      state.assertion ??= await assert(config, asked, sheet.hash);
      const done = await sheet.give(state.assertion, boxes.map((each) => each.sentence));
      end();
      outcome.replaceChildren(h("div", { class: "note good", role: "status" }, ...done));
    } catch (fault) {
      outcome.replaceChildren(note("bad", "Not done", messageOf(fault)));
      if (state.assertion !== null) button.textContent = "Hand over again";
    } finally {
      state.isBusy = false;
      update();
    }
  }

  function end() {
    state.isOver = true;
    clearInterval(timer);
    clock.replaceChildren();
    button.hidden = true;
  }

  function tick() {
    if (sheet.expires === null || state.isOver) return;
    const left = sheet.expires - Date.now();
    if (left > 0) {
      clock.replaceChildren(`${remaining(left)} left, until ${moment(sheet.expires)}`);
      return;
    }
    end();
    outcome.replaceChildren(note("bad", "Expired", "This can't be signed any more. The signer makes another request."));
  }

  const timer = setInterval(tick, SECOND_MS);
  button.addEventListener("click", act);
  main().replaceChildren(
    ...sheet.title, ...sheet.parts, exact(sheet.bytes, sheet.hash),
    h("div", { class: "act" }, ...boxes.map((each) => each.row), clock, outcome,
      h("p", { class: "who" }, "Asked: ", h("strong", {}, written(asked.name)), " ", h("span", { class: "mono small" }, asked.person)),
      button),
  );
  tick();
  update();
  return end;
}

/** Bytes, digest and phrase of what is signed. */
function exact(bytes, hash) {
  return section("Verification phrase",
    h("p", { class: "phrase mono" }, phrase(hash)),
    h("p", { class: "muted" }, "In a terminal, strongroom approve shows the same eight words for the same bytes."),
    h("details", {}, h("summary", {}, "The exact bytes, and their digest"),
      h("p", { class: "mono small wrap" }, hexOf(hash)),
      h("pre", { tabindex: "0", "aria-label": "The exact bytes" }, written(new TextDecoder().decode(bytes)))),
  );
}

function confirmation(sentence, index, changed) {
  const box = h("input", { type: "checkbox", id: `sentence-${index}` });
  box.addEventListener("change", changed);
  return { box, row: h("label", { class: "sentence", for: `sentence-${index}` }, box, h("span", {}, sentence)) };
}

function remaining(left) {
  const seconds = Math.floor(left / SECOND_MS);
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
}

const EXPECTED = [CanonicalError, DocumentError, HandOverError, PasskeyError];

export function messageOf(fault) {
  if (EXPECTED.some((each) => fault instanceof each)) return fault.message;
  throw fault;
}
