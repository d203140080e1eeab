// Prints how Claude Desktop starts an unpacked bundle, as the official library fills in its manifest.
//     node substitute.mjs LIBRARY FOLDER '{"api_key": "…"}'
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [library, folder, answers] = process.argv.slice(2);
const { getMcpConfigForManifest } = await import(pathToFileURL(library).href);
const config = await getMcpConfigForManifest({
  manifest: JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")),
  extensionPath: folder,
  systemDirs: { HOME: process.env.HOME },
  userConfig: JSON.parse(answers),
  pathSeparator: "/",
});
console.log(JSON.stringify(config ?? null));
