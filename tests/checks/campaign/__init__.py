"""The campaign: many clients, real server processes, every fault, and three books compared at the end."""
