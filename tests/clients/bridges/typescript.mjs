// What the TypeScript bridges share: the runner's lines, and what a host does with a client of either package.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const installed = new URL("../../node/", import.meta.url);

/** Loads a package from where the project's JavaScript is installed. */
export const load = createRequire(installed);

console.log = console.error; // stdout is for answers alone

/**
 * Answers lines from stdin until one says `close`.
 *
 * @param named The package.
 * @param pieces Its `StdioClientTransport` and `StreamableHTTPClientTransport`; a `client`, not yet connected; `asking`,
 *   which has it answer prompts by a function; and `protocol`, which tells the revision once it is connected.
 */
export async function serve(named, { StdioClientTransport, StreamableHTTPClientTransport, client, asking, protocol }) {
  let answer = null;
  let asked = null;
  asking(({ params }) => {
    asked = params.message;
    return answer ?? { action: "cancel" };
  });

  const does = {
    async connect({ transport, command, args, env, url, token }) {
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      await client.connect(
        transport === "stdio"
          ? new StdioClientTransport({ command, args, env: { ...process.env, ...env } })
          : new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }),
      );
      const { version } = JSON.parse(readFileSync(new URL(`node_modules/${named}/package.json`, installed)));
      const { tools } = await client.listTools();
      return {
        client: `${named} ${version}`,
        protocol: protocol(),
        sees: "both",
        prompts: true,
        tools: tools.map(({ name, description }) => ({ name, description })),
      };
    },

    async call({ tool, arguments: given, answer: reply }) {
      [answer, asked] = [reply, null];
      const begun = performance.now();
      const shown = await client.callTool({ name: tool, arguments: given }).then(
        ({ content, structuredContent, isError }) => ({
          text: content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("\n") || null,
          structured: structuredContent ?? null,
          error: isError ?? false,
        }),
        (thrown) => ({ text: thrown.message, structured: null, error: true }),
      );
      return { ...shown, asked, seconds: (performance.now() - begun) / 1000 };
    },

    async close() {
      await client.close();
      return {};
    },
  };

  for await (const line of createInterface({ input: process.stdin })) {
    const wanted = JSON.parse(line);
    process.stdout.write(`${JSON.stringify(await does[wanted.do](wanted))}\n`);
    if (wanted.do === "close") break;
  }
  process.stdin.destroy();
}
