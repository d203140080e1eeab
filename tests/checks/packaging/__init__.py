"""The package as a stranger gets it."""
