"""What kros-mcp costs: each is run as `python -m tests.checks.benchmarks.NAME`."""
