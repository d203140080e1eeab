"""Signing in to the pages for people: who may, for how long, and what those pages have in common."""
