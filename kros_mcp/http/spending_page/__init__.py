"""The spending page: what was spent, on what and for whom, and the story of every operation; it changes nothing."""
