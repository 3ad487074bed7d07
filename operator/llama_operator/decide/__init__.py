"""The decisions, pure: from one frozen `Observed` to one frozen `Decision`. No I/O, no clock, no randomness."""
