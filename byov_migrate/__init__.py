"""Moves rows and home-made vectors from PostgreSQL to RushDB."""
