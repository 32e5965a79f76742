"""The ports made real: DuckDB, in-process cache and bus."""
