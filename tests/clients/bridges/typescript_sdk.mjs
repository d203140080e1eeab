// @modelcontextprotocol/sdk, which most TypeScript hosts are built on.
import { load, serve } from "./typescript.mjs";

const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { ElicitRequestSchema } = load("@modelcontextprotocol/sdk/types.js");

const client = new Client({ name: "bridge", version: "1" }, { capabilities: { elicitation: { form: {} } } });

await serve("@modelcontextprotocol/sdk", {
  StdioClientTransport,
  StreamableHTTPClientTransport,
  client,
  asking: (person) => client.setRequestHandler(ElicitRequestSchema, person),
  protocol: () => client.transport?.protocolVersion ?? null,
});
