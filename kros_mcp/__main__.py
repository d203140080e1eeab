"""`python -m kros_mcp` is `kros-mcp`."""

from kros_mcp.cli import main

main()
