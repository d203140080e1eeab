"""The bundle for Claude Desktop, tried with the official tool and started as Claude Desktop does.

    uv run python -m tests.checks.bundle

It needs the network, for npm, for building a wheel and for what uv installs at the bundle's first start.
"""
