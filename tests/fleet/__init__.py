"""Fleets: several real processes of the HTTP service behind a proxy, sharing one journal and one KrosAI."""
