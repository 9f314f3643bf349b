// Elements made by hand: text is always a text node, so that nothing that people wrote can become more than text.

const ATTRIBUTES = new Set([
  "class", "id", "type", "role", "for", "disabled", "open", "tabindex", "scope", "lang", "hidden", "href", "target", "rel",
]);

/** `h("p", { class: "note" }, "text", h("b", {}, "more"))`. Children that are null are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (!ATTRIBUTES.has(name) && !name.startsWith("aria-")) throw new Error(`no attribute ${name}`);
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((each) => each !== null));
  return element;
}

/** What somebody wrote, in a direction of its own, with all that can't be seen spelled out. */
export function written(text) {
  return h("bdi", {}, text.replace(/(?! )[\p{C}\p{Z}]/gu, (each) => {
    return `⟨U+${each.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  }));
}

/** An address, hash or id, whole: groups of four that wrap between them. It is copied without the gaps. */
export function grouped(text) {
  const groups = Array.from(text).reduce((made, each, index) => {
    if (index % 4 === 0) made.push("");
    made[made.length - 1] += each;
    return made;
  }, []);
  const label = h("span", { class: "groups mono", "aria-label": text, role: "text" });
  groups.forEach((group, index) => {
    label.append(h("span", { "aria-hidden": "true", class: "group" }, written(group)));
    if (index < groups.length - 1) label.append(h("wbr"));
  });
  return label;
}

/** A list of facts: pairs of a name and what it is; pairs whose value is null are left out. */
export function facts(...pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h("dl", { class: "facts" }, ...shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

export function section(title, ...children) {
  return h("section", {}, h("h2", {}, title), ...children);
}

export function note(kind, title, text) {
  return h("div", { class: `note ${kind}` }, h("strong", {}, title), text === "" ? null : h("p", {}, text));
}

/** A moment, in UTC and in the zone of who looks. */
export function moment(instant) {
  const date = new Date(instant);
  const here = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" }).format(date);
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC (${here})`;
}
