// @modelcontextprotocol/client; its only argument says how it negotiates: `legacy`, which is its default, or `auto`.
import { load, run } from "./bridging.mjs";

const { Client, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");

await run("@modelcontextprotocol/client", {
  StdioClientTransport,
  StreamableHTTPClientTransport,
  connectable: (capabilities) =>
    new Client({ name: "tried", version: "1" }, { capabilities, versionNegotiation: { mode: process.argv[2] } }),
  asking: (client, person) => client.setRequestHandler("elicitation/create", person),
  protocol: (client) => client.getNegotiatedProtocolVersion(),
});
