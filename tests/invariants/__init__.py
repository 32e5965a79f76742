"""Properties that hold for every kernel, store or engine alike."""
