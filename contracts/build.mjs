// Compiles the contracts with the pinned compiler. `node build.mjs` writes artifacts/, `--check` compares them byte for
// byte and exits with 1 if one differs.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const solc = createRequire(join(process.env.STRONGROOM_NODE_MODULES ?? join(here, ".."), "package.json"))("solc");
const settings = {
  optimizer: { enabled: true, runs: 10000 },
  evmVersion: "cancun",
  metadata: { bytecodeHash: "none" },
};
const files = readdirSync(here).filter((name) => name.endsWith(".sol")).sort();
const sources = Object.fromEntries(files.map((name) => [name, { content: readFileSync(join(here, name), "utf8") }]));
const outputSelection = { "*": { "*": ["abi", "evm.bytecode.object"] } };
const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const error of output.errors ?? []) console.error(error.formattedMessage);
if ((output.errors ?? []).some((error) => error.severity === "error")) process.exit(1);

let different = 0;
for (const name of files) {
  const contract = name.replace(".sol", "");
  const compiled = output.contracts[name][contract];
  const artifact = {
    contract,
    compiler: solc.version(),
    settings,
    source_sha256: createHash("sha256").update(sources[name].content).digest("hex"),
    abi: compiled.abi,
    bytecode: `0x${compiled.evm.bytecode.object}`,
  };
  const text = `${JSON.stringify(artifact, null, 1)}\n`;
  const file = join(here, "artifacts", `${contract}.json`);
  if (!process.argv.includes("--check")) writeFileSync(file, text);
  else if (readFileSync(file, "utf8") !== text) {
    console.error(`${contract}: the artifact isn't what the source compiles to`);
    different += 1;
  }
}
process.exit(different ? 1 : 0);
