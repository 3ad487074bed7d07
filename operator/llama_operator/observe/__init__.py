"""All reads of one reconcile, into one frozen `Observed`."""
