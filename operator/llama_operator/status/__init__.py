"""What the operator says, pure: (Observed, Decision, failure, now) -> status. Only this package makes conditions."""
