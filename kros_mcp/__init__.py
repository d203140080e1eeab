"""An MCP server for KrosAI phone numbers, with a guard on spending."""

__version__ = "0.2.0"
