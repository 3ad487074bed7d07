"""Settings of the operator, from flags and environment."""
