// Signed records: what is hashed is the verbatim bytes, and their fields are taken one by one, so that what nobody
// knows is refused. As src/strongroom/protocol/record.py and domain/document.py.

import { bytesOf, CanonicalError, encode, parse } from "./canonical.js";

const AMOUNT = /^[1-9][0-9]{0,77}$/;
const AMOUNT_MAXIMUM = 2n ** 256n - 1n;
const HEX = /^(?:[0-9a-f]{2})+$/;
const INSTANT_MAXIMUM = 253_402_300_799_999;

export class DocumentError extends Error {
  constructor(field, reason) {
    super(field ? `${field}: ${reason}` : reason);
    this.field = field;
  }
}

/** SHA-256 of bytes. */
export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** What is signed of a record: SHA-256 of its type, a zero byte, and its verbatim bytes. */
export function recordHash(type, bytes) {
  const head = bytesOf(`${type}\0`);
  const whole = new Uint8Array(head.length + bytes.length);
  whole.set(head);
  whole.set(bytes, head.length);
  return sha256(whole);
}

export function hexOf(bytes) {
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}

export function bytesOfHex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** The fields of a record in canonical form, of this type. Throws: DocumentError. */
export function readRecord(text, type) {
  const fields = new Fields(readValue(text));
  if (encode(fields.value) !== text) throw new DocumentError("", "isn't in the canonical form of RFC 8785");
  fields.exactly("type", type);
  return fields;
}

/** Any JSON value of the strict subset. Throws: DocumentError. */
export function readValue(text) {
  try {
    const value = parse(bytesOf(text));
    encode(value);
    return value;
  } catch (fault) {
    if (fault instanceof CanonicalError) throw new DocumentError("", fault.message);
    throw fault;
  }
}

/** The fields of one object, each taken once; `close` refuses what nobody took. */
export class Fields {
  constructor(value, path = "") {
    if (!(value instanceof Map)) throw new DocumentError(path, "must be an object");
    this.value = value;
    this.left = new Map(value);
    this.at = path;
  }

  path(name) {
    return this.at ? `${this.at}.${name}` : name;
  }

  fail(name, reason) {
    throw new DocumentError(this.path(name), reason);
  }

  take(name) {
    if (!this.left.has(name)) this.fail(name, "is missing");
    const value = this.left.get(name);
    this.left.delete(name);
    return value;
  }

  /** Whether it is there and not null; a null is taken. */
  has(name) {
    if (this.left.get(name) === null) this.left.delete(name);
    return this.left.has(name);
  }

  /** 1 to `maximum` characters. */
  text(name, maximum = 255) {
    const value = this.take(name);
    if (typeof value !== "string" || value === "" || (value.length > maximum && [...value].length > maximum)) {
      this.fail(name, `must be a string of 1 to ${maximum} characters`);
    }
    return value;
  }

  /** As text, or null. */
  optional(name, maximum = 255) {
    if (this.left.get(name) !== null) return this.text(name, maximum);
    this.left.delete(name);
    return null;
  }

  parsed(name, pattern, what, maximum = 255) {
    const value = this.text(name, maximum);
    if (!pattern.test(value)) this.fail(name, `must be ${what}`);
    return value;
  }

  oneOf(name, words) {
    const value = this.text(name);
    if (!words.includes(value)) this.fail(name, `must be one of ${words.join(", ")}`);
    return value;
  }

  exactly(name, expected) {
    if (this.take(name) !== expected) this.fail(name, `must be ${expected}`);
  }

  integer(name, minimum, maximum) {
    const value = this.take(name);
    if (typeof value !== "number" || value < minimum || value > maximum) {
      this.fail(name, `must be an integer from ${minimum} to ${maximum}`);
    }
    return value;
  }

  instant(name) {
    return this.integer(name, 0, INSTANT_MAXIMUM);
  }

  /** Base units as their decimal string; from 1. */
  minor(name) {
    const value = this.text(name);
    if (!AMOUNT.test(value) || BigInt(value) > AMOUNT_MAXIMUM) {
      this.fail(name, "must be a whole number of base units, at most 2^256-1");
    }
    return BigInt(value);
  }

  /** `minimum` to `maximum` bytes in lower-case hex, as that text. */
  hex(name, minimum, maximum) {
    const value = this.text(name, 2 * maximum);
    if (!HEX.test(value) || value.length < 2 * minimum) {
      this.fail(name, `must be ${minimum} to ${maximum} bytes in lower-case hex`);
    }
    return value;
  }

  hash(name) {
    return this.hex(name, 32, 32);
  }

  inner(name) {
    return new Fields(this.take(name), this.path(name));
  }

  list(name, maximum) {
    const values = this.take(name);
    if (!Array.isArray(values) || values.length > maximum) this.fail(name, `must be a list of at most ${maximum}`);
    return values;
  }

  /** The objects of a list. */
  each(name, maximum) {
    return this.list(name, maximum).map((value, index) => new Fields(value, `${this.path(name)}[${index}]`));
  }

  /** A list of strings that match, none of them twice. */
  distinct(name, maximum, pattern, what) {
    const values = this.list(name, maximum);
    values.forEach((value, index) => {
      if (typeof value !== "string" || !pattern.test(value) || values.indexOf(value) !== index) {
        this.fail(`${name}[${index}]`, `must be ${what} that isn't there twice`);
      }
    });
    return values;
  }

  names() {
    return [...this.left.keys()];
  }

  close() {
    for (const name of this.left.keys()) this.fail(name, "is unknown");
  }

  done(made) {
    this.close();
    return made;
  }
}
