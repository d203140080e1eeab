"""The official conformance suite of the Model Context Protocol, run against the HTTP service."""
