"""The browser page of the stdio server: a question on the person's own screen, where no model answers."""
