// What differs between two JSON values: by field, and by line of their indented text.

import { encode } from "./canonical.js";

const LINES_MAXIMUM = 4_000;

/** Every field that differs: `{ path, old, now }`, in canonical JSON, null where it isn't there. */
export function fieldsOf(before, after, path = "") {
  if (before === undefined || after === undefined || !isSame(before, after)) {
    return [{ path, old: before === undefined ? null : encode(before), now: after === undefined ? null : encode(after) }];
  }
  if (before instanceof Map) {
    const names = [...new Set([...before.keys(), ...after.keys()])].sort();
    return names.flatMap((name) => differs(before.get(name), after.get(name), path ? `${path}.${name}` : name));
  }
  if (Array.isArray(before)) {
    const length = Math.max(before.length, after.length);
    return Array.from({ length }).flatMap((_, each) => differs(before[each], after[each], `${path}[${each}]`));
  }
  return before === after ? [] : [{ path, old: encode(before), now: encode(after) }];
}

function differs(before, after, path) {
  return before === undefined && after === undefined ? [] : fieldsOf(before, after, path);
}

function isSame(before, after) {
  const kind = (value) => (value instanceof Map ? "object" : Array.isArray(value) ? "list" : "plain");
  return kind(before) === kind(after);
}

/** The indented text of a value, by lines. */
export function lines(value, indent = "", tail = "") {
  if (value instanceof Map && value.size > 0) {
    const names = [...value.keys()].sort();
    return [`${indent}{`, ...names.flatMap((name, each) => {
      const [first, ...rest] = lines(value.get(name), `${indent}  `, each < names.length - 1 ? "," : "");
      return [`${indent}  ${JSON.stringify(name)}: ${first.trimStart()}`, ...rest];
    }), `${indent}}${tail}`];
  }
  if (Array.isArray(value) && value.length > 0) {
    return [`${indent}[`, ...value.flatMap((each, index) => lines(each, `${indent}  `, index < value.length - 1 ? "," : "")), `${indent}]${tail}`];
  }
  return [`${indent}${encode(value)}${tail}`];
}

/** Lines with a sign: "-" gone, "+" new, " " in both. The longest that both have in common stays. */
export function difference(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < before.length - start && end < after.length - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const same = (line) => ({ sign: " ", line });
  return [
    ...before.slice(0, start).map(same),
    ...between(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...before.slice(before.length - end).map(same),
  ];
}

function between(before, after) {
  const gone = (line) => ({ sign: "-", line });
  const added = (line) => ({ sign: "+", line });
  if (before.length > LINES_MAXIMUM || after.length > LINES_MAXIMUM) return [...before.map(gone), ...after.map(added)];
  const common = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      common[i][j] = before[i] === after[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const found = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      found.push({ sign: " ", line: before[i] });
      i += 1;
      j += 1;
    } else if (j === after.length || (i < before.length && common[i + 1][j] >= common[i][j + 1])) {
      found.push(gone(before[i]));
      i += 1;
    } else {
      found.push(added(after[j]));
      j += 1;
    }
  }
  return found;
}
