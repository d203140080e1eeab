// @modelcontextprotocol/client; `legacy`, its default, or `auto` as the only argument says how it negotiates.
import { load, serve } from "./typescript.mjs";

const { Client, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");

const client = new Client(
  { name: "bridge", version: "1" },
  { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: process.argv[2] ?? "legacy" } },
);

await serve("@modelcontextprotocol/client", {
  StdioClientTransport,
  StreamableHTTPClientTransport,
  client,
  asking: (person) => client.setRequestHandler("elicitation/create", person),
  protocol: () => client.getNegotiatedProtocolVersion(),
});
