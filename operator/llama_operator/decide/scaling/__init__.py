"""Which bounds hold when. Called by `decide.bounds`."""
