"""The live state: deterministic, no I/O, no clock."""
