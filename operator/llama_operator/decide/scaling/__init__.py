"""Which bounds hold when, and which number where they do not. Called by `decide.bounds` and `observe.gather`."""
