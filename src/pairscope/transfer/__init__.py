"""Data out and in: stored rows as files, and files as bars and trades."""
