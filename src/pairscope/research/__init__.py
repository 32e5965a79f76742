"""When one core, or one machine, is not enough."""
