"""Copies of weights, as the status tells of them. Called by `status.conditions` and `status.summary`."""
