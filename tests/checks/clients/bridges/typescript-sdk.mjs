// @modelcontextprotocol/sdk, the first TypeScript package, which most hosts are built on.
import { load, run } from "./bridging.mjs";

const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { ElicitRequestSchema } = load("@modelcontextprotocol/sdk/types.js");

/** Keeps what it is told of the protocol, as the transport for HTTP does. */
class Stdio extends StdioClientTransport {
  setProtocolVersion(version) {
    this.protocolVersion = version;
  }
}

await run("@modelcontextprotocol/sdk", {
  StdioClientTransport: Stdio,
  StreamableHTTPClientTransport,
  connectable: (capabilities) => new Client({ name: "tried", version: "1" }, { capabilities }),
  asking: (client, person) => client.setRequestHandler(ElicitRequestSchema, person),
  protocol: (client) => client.transport.protocolVersion,
});
