"""A faithful local KrosAI."""
