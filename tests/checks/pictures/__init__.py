"""The pictures in README, made by a run."""
