"""Programs that check the whole: each is run as `python -m tests.checks.NAME`."""
