"""The approvals page: a person outside the conversation sees what waits, and says yes or no."""
