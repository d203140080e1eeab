"""The files of `deploy/`, tried as far as any machine allows."""
