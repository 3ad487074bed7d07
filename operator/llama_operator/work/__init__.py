"""The queue of keys to reconcile, and the workers that take them."""
