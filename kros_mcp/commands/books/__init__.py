"""The books: what was asked for, decided and spent, for the operator at a terminal."""
