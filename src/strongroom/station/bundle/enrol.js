// Making a credential for approvals: on this origin and for this host, so that the console can never ask it. It counts
// once a change of the roster with it is in force.

import { facts, grouped, h, note, written } from "./dom.js";
import { hand } from "./exchange.js";
import { create } from "./passkey.js";
import { bytesOfHex } from "./record.js";
import { main, messageOf } from "./sheet.js";

export async function enrol(config, asked) {
  const outcome = h("div", { "aria-live": "polite", class: "outcome" });
  const button = h("button", { type: "button", class: "primary" }, "Make a passkey for approvals");
  let made = null;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      made ??= await create(config, asked, bytesOfHex(asked.challenge));
      await hand(config, "enrol", { ...made, challenge: asked.challenge, organisation: asked.organisation, person: asked.person });
      button.hidden = true;
      outcome.replaceChildren(h("div", { class: "note good", role: "status" }, h("strong", {}, "Made and handed over"),
        h("p", {}, "It counts once a change of the roster with it is in force. Its id, to compare:"), h("p", {}, grouped(made.credential))));
    } catch (fault) {
      outcome.replaceChildren(note("bad", "Not done", messageOf(fault)));
      if (made !== null) button.textContent = "Hand over again";
    } finally {
      button.disabled = false;
    }
  });
  main().replaceChildren(
    h("h1", {}, "A passkey for approvals"),
    note("warn", "This one approves payments", "Make it on a device that only you use. Signing in to the console uses another one."),
    facts(["for", written(asked.name)], ["person", grouped(asked.person)], ["organisation", grouped(asked.organisation)],
      ["you have already", `${asked.credentials.length} of them`], ["on", config.relying_party_id]),
    h("div", { class: "act" }, outcome, button),
  );
}
