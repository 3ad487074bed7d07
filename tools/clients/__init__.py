"""Asks one small deployment of ours by clients that we did not write and do not change (`make test-clients`)."""
