"""The scripts, one for each revision."""
