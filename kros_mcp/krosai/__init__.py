"""The REST API of KrosAI, typed."""
