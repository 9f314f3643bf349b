// What pages do beyond links and forms: a passkey before a change, live numbers, keys, copying. Without it they still work.
import { assert, post, words } from "./passkey.js";

// A form that needs the passkey: its fields are shown to the passkey, and its answer goes along.
for (const form of document.querySelectorAll("form[data-step-up]")) {
  form.addEventListener("submit", async (event) => {
    if (form.elements.step_up?.value) return;
    event.preventDefault();
    const said = form.parentElement.querySelector("[data-said]") ?? document.querySelector("[data-said]");
    const fields = {};
    for (const [name, value] of new FormData(form, event.submitter)) if (name !== "step_up") fields[name] = value;
    try {
      const answer = await assert(await post("/step-up", { act: form.dataset.stepUp, fields }));
      const field = document.createElement("input");
      field.type = "hidden";
      field.name = "step_up";
      field.value = JSON.stringify(answer);
      form.append(field);
      form.requestSubmit(event.submitter);
    } catch (fault) {
      if (said) said.textContent = words(fault);
    }
  });
}

// Numbers that change while somebody looks.
const live = document.querySelectorAll("[data-live]");
const watched = document.querySelector("[data-watch]");
if (live.length || watched) {
  const source = new EventSource(watched ? `/live?request=${watched.dataset.watch}` : "/live");
  source.addEventListener("numbers", (event) => {
    const numbers = JSON.parse(event.data);
    for (const element of live) {
      const value = numbers[element.dataset.live];
      if (value === undefined) continue;
      element.textContent = value;
      element.hidden = element.classList.contains("count") && value === 0;
    }
    if (watched && numbers.request !== undefined && numbers.request !== watched.dataset.is) {
      document.getElementById("changed").hidden = false;
      document.querySelector("[data-approve]")?.remove();
    }
  });
  addEventListener("pagehide", () => source.close());
}

// Approve goes by the sentences being confirmed.
const sentences = [...document.querySelectorAll("[data-sentence]")];
const approve = document.querySelector("[data-approve]");
if (approve) {
  const show = () => { approve.disabled = !sentences.every((box) => box.checked); };
  for (const box of sentences) box.addEventListener("change", show);
  show();
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.lastChild.textContent = "Copied";
  });
}

// Keys, but not while somebody writes.
let before = "";
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
  const rows = [...document.querySelectorAll("[data-row]")];
  const at = rows.indexOf(document.activeElement.closest("[data-row]") ?? document.querySelector("[data-row][aria-current]"));
  const go = before === "g" ? { a: "/approvals", p: "/payouts", o: "/", b: "/beneficiaries" }[event.key] : undefined;
  before = event.key;
  if (go) location.assign(go);
  else if (event.key === "j") rows[Math.min(rows.length - 1, at + 1)]?.focus();
  else if (event.key === "k") rows[Math.max(0, at - 1)]?.focus();
  else if (event.key === "/") { event.preventDefault(); location.assign("/find"); }
  else if (event.key === "?") document.getElementById("keys")?.showModal();
});
