"""Pod templates: each is a sum of parts (`parts`), and its own container. Called by `desired`."""
