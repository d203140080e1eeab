"""Claude Desktop: the bundle that it installs, and the entry in its configuration file."""
