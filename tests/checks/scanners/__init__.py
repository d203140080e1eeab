"""Security scanners that others wrote, run on the real server and on the sources."""
