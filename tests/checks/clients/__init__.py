"""Acceptance against clients that somebody else wrote: each drives the real server, without a model."""
