"""Alembic's scripts for the guard's tables, with a version table of their own."""
