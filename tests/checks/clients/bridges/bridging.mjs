// What the bridges in JavaScript share: the lines that `bridging.py` describes, around one of the TypeScript clients.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const installed = new URL("../../node/", import.meta.url);

/** Loads a module from where the project's JavaScript packages are installed. */
export const load = createRequire(installed);

console.log = console.error; // standard output is for answers alone
process.on("uncaughtException", (thrown) => {
  console.error(`${thrown.stack}\n${thrown.name}: ${thrown.message}`); // the last line is what the runner tells
  process.exit(1);
});

/**
 * Serves until told to close.
 *
 * @param named The package that is tried.
 * @param library Its `StdioClientTransport` and `StreamableHTTPClientTransport`, and what the two packages do each in
 *   its own way: `connectable(capabilities)` makes a client, `asking(client, person)` has a function answer its
 *   prompts, and `protocol(client)` tells the revision that it has agreed on.
 */
export async function run(named, library) {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const heard = async () => JSON.parse((await lines.next()).value ?? '{"do": "close"}');
  const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

  const way = await heard();
  const client = library.connectable(way.prompts ? { elicitation: { form: {} } } : {});
  const person = { answer: null, asked: [] };
  if (way.prompts) library.asking(client, ({ params }) => reply(person, params.message));
  await client.connect(transport(library, way));
  const { tools } = await client.listTools();
  tell({
    client: `${named} ${version(named)}`,
    protocol: library.protocol(client),
    sees: "both",
    prompts: way.prompts,
    tools: tools.map(({ name, description }) => ({ name, description })),
  });

  let wanted = await heard();
  for (; wanted.do === "call"; wanted = await heard()) {
    Object.assign(person, { answer: wanted.answer, asked: [] });
    const began = performance.now();
    const shown = await called(client, wanted.tool, wanted.arguments);
    tell({ ...shown, asked: person.asked.join("\n\n") || null, seconds: (performance.now() - began) / 1000 });
  }
  await client.close();
  tell({});
  process.stdin.destroy();
}

function transport(library, { transport, command, args, env, url, token }) {
  if (transport === "stdio") return new library.StdioClientTransport({ command, args, env });
  const headers = { Authorization: `Bearer ${token}` };
  return new library.StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
}

function reply(person, message) {
  person.asked.push(message);
  if (person.answer === null) throw new Error("nobody is there to answer the prompt");
  // A person reads before turning a prompt down; sooner, the server takes it that nobody has.
  if (person.answer.action !== "accept") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2100);
  return person.answer;
}

/** Calls a tool; what the client throws is how it tells that a call has failed. */
async function called(client, name, given) {
  try {
    const { content, structuredContent, isError } = await client.callTool({ name, arguments: given });
    const text = content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("\n");
    return { text: text || null, structured: structuredContent ?? null, error: isError ?? false };
  } catch (thrown) {
    console.error(thrown);
    return { text: thrown.message, structured: null, error: true };
  }
}

const version = (named) => JSON.parse(readFileSync(new URL(`node_modules/${named}/package.json`, installed))).version;
