"""Pure kernels: arrays and state in, arrays and state out."""
