"""The MCP Inspector, the tool with which developers look at servers, used on this one as they use it."""
