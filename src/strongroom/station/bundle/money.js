// Amounts as people read them. Base units are what is signed; how many decimals an asset has, only a policy says.

const TOKEN = /^(eip155:[0-9]+)\/erc20:(0x[0-9a-fA-F]{40})$/;

/** Digits in groups of three, apart by a thin space. */
export function digits(minor) {
  return String(minor).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** `{ amount, unit }`; `rule` is the policy's `{ symbol, decimals }`, null if it isn't known. */
export function worth(minor, asset, rule) {
  if (rule === null) return { amount: digits(minor), unit: "base units" };
  const text = String(minor).padStart(rule.decimals + 1, "0");
  const whole = digits(text.slice(0, text.length - rule.decimals));
  const rest = rule.decimals === 0 ? "" : `.${text.slice(text.length - rule.decimals)}`;
  return { amount: whole + rest, unit: rule.symbol };
}

export function worthText(minor, asset, rule) {
  const { amount, unit } = worth(minor, asset, rule);
  return rule === null ? `${amount} ${unit} of ${asset}` : `${amount} ${unit}`;
}

/** The contract of a token, null for what has none. */
export function contractOf(asset) {
  return TOKEN.exec(asset)?.[2] ?? null;
}
