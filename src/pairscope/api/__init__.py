"""FastAPI over the ports."""
