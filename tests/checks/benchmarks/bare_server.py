"""One tool on the bare SDK: what the start of kros-mcp is measured against."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare", version="1", log_level="WARNING")


@server.tool()
async def ping(word: str) -> str:
    """Say a word back."""
    return word


server.run("stdio")
