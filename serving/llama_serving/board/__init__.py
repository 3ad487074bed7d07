"""What replicas report about themselves, and the status that follows from it."""
