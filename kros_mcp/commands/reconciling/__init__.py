"""Whether the journal and KrosAI agree."""
