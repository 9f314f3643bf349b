// The tree over the items of a run (RFC 6962), as src/strongroom/protocol/run_tree.py and merkle.py.

import { bytesOf, encode } from "./canonical.js";
import { DocumentError, sha256 } from "./record.js";

export const RUN_ITEM_TYPE = "strongroom/run-item/v1";

/** The verbatim leaf of an item as it was sent. */
export function itemLeaf(item, run, index) {
  for (const added of ["index", "run", "type"]) {
    if (item.has(added)) throw new DocumentError(`items[${index}].${added}`, "can't be a field of an item");
  }
  return bytesOf(encode(new Map([...item, ["index", index], ["run", run], ["type", RUN_ITEM_TYPE]])));
}

function prefixed(prefix, ...parts) {
  const whole = new Uint8Array(1 + parts.reduce((sum, each) => sum + each.length, 0));
  whole[0] = prefix;
  let at = 1;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return sha256(whole);
}

export async function leafHash(leaf) {
  return prefixed(0, leaf);
}

/** The root over at least one leaf hash: the largest power of two stands to the left. */
export async function rootOf(hashes) {
  let level = hashes;
  while (level.length > 1) {
    const above = [];
    for (let each = 0; each + 1 < level.length; each += 2) above.push(prefixed(1, level[each], level[each + 1]));
    const joined = await Promise.all(above);
    if (level.length % 2 === 1) joined.push(level[level.length - 1]);
    level = joined;
  }
  return level[0];
}
