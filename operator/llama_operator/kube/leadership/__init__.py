"""Which replica of the operator may write: Lease, handover and fence."""
