// Canonical JSON, one way to write a record down, and a reader that takes nothing doubtful: what
// src/strongroom/protocol/canonical.py reads and writes, to the byte. Objects become Maps, so that no key is special.
// Bytes come from strangers.

export const DEPTH_MAXIMUM = 32;
const INTEGER_DIGITS = 16;
const ASCII = /^[\x00-\x7f]*$/;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

export class CanonicalError extends Error {}

/** The text of bytes that are UTF-8. Throws: CanonicalError. */
export function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new CanonicalError("isn't UTF-8");
  }
}

export function bytesOf(text) {
  return encoder.encode(text);
}

/** Any JSON value of the subset, canonical or not, of bytes. Throws: CanonicalError. */
export function parse(bytes) {
  const text = textOf(bytes);
  if (text.startsWith("\ufeff")) throw new CanonicalError("starts with a byte order mark");
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.space();
  if (reader.at !== text.length) reader.fail("has something after its end");
  return value;
}

/** The canonical text of a value from the subset. Throws: CanonicalError. */
export function encode(value, depth = 0) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      throw new CanonicalError("a number must be an integer below 2^53");
    }
    return String(value);
  }
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new CanonicalError("text holds a lone surrogate");
    return JSON.stringify(value);
  }
  if (depth === DEPTH_MAXIMUM) throw new CanonicalError(`is nested deeper than ${DEPTH_MAXIMUM} levels`);
  if (Array.isArray(value)) return `[${value.map((each) => encode(each, depth + 1)).join(",")}]`;
  if (!(value instanceof Map)) throw new CanonicalError("has no canonical form");
  const keys = [...value.keys()].sort();
  if (!keys.every((key) => ASCII.test(key))) throw new CanonicalError("keys must be ASCII");
  return `{${keys.map((key) => `${JSON.stringify(key)}:${encode(value.get(key), depth + 1)}`).join(",")}}`;
}

/** A Map of a plain object whose values are of the subset. */
export function record(fields) {
  return new Map(Object.entries(fields));
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail(reason) {
    throw new CanonicalError(`${reason} (at character ${this.at})`);
  }

  take(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }

  space() {
    this.take(/[ \t\n\r]*/y);
  }

  value(depth) {
    this.space();
    const first = this.text[this.at];
    if (first === "{" || first === "[") {
      if (depth === DEPTH_MAXIMUM) this.fail(`is nested deeper than ${DEPTH_MAXIMUM} levels`);
      this.at += 1;
      return first === "{" ? this.object(depth + 1) : this.list(depth + 1);
    }
    if (first === '"') return this.string();
    const word = this.take(/(?:null|true|false)/y);
    if (word !== null) return { null: null, true: true, false: false }[word[0]];
    return this.number();
  }

  object(depth) {
    const members = new Map();
    this.space();
    if (this.take(/\}/y)) return members;
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"') this.fail("isn't JSON: a key is missing");
      const key = this.string();
      if (members.has(key)) this.fail(`the key ${JSON.stringify(key.slice(0, 64))} stands there twice`);
      this.space();
      if (!this.take(/:/y)) this.fail("isn't JSON: a colon is missing");
      members.set(key, this.value(depth));
      this.space();
      if (this.take(/\}/y)) return members;
      if (!this.take(/,/y)) this.fail("isn't JSON: an object doesn't end");
    }
  }

  list(depth) {
    const values = [];
    this.space();
    if (this.take(/\]/y)) return values;
    for (;;) {
      values.push(this.value(depth));
      this.space();
      if (this.take(/\]/y)) return values;
      if (!this.take(/,/y)) this.fail("isn't JSON: a list doesn't end");
    }
  }

  string() {
    this.at += 1;
    let made = "";
    for (;;) {
      made += this.take(/[^"\\\u0000-\u001f]*/y)[0];
      if (this.take(/"/y)) break;
      const escaped = this.take(/\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))/y);
      if (escaped === null) this.fail("isn't JSON: a text doesn't end, or has a character that it can't have");
      made += escaped[1] === undefined ? String.fromCharCode(parseInt(escaped[2], 16)) : JSON.parse(`"${escaped[0]}"`);
    }
    if (!made.isWellFormed()) this.fail("text holds a lone surrogate");
    return made;
  }

  number() {
    const found = this.take(/-?(?:0|[1-9][0-9]*)/y);
    if (found === null) this.fail("isn't JSON");
    const number = Number(found[0]);
    if (found[0] === "-0" || found[0].length > INTEGER_DIGITS + 1 || !Number.isSafeInteger(number)) {
      this.fail("a number isn't an integer below 2^53");
    }
    return number;
  }
}
