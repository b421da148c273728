"""Acme's own features and specs."""
