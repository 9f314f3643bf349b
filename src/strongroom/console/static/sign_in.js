import { assert, create, post, words } from "./passkey.js";

const said = document.getElementById("said");

function act(button, work) {
  button?.addEventListener("click", async () => {
    button.disabled = true;
    said.textContent = "";
    try {
      location.assign((await work()).next);
    } catch (fault) {
      said.textContent = words(fault);
      button.disabled = false;
    }
  });
}

act(document.getElementById("sign-in"), async () => post("/sign-in", await assert(await post("/sign-in/challenge", {}))));

act(document.getElementById("enrol"), async () => {
  const { invitation, person, name } = document.querySelector("[data-invitation]").dataset;
  const made = await create(await post("/sign-in/challenge", {}), person, name);
  return post(`/invited/${invitation}`, { ...made, name: document.getElementById("name").value });
});
