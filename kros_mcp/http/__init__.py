"""The HTTP service: one server for many callers, each within its rights."""
